"""Start `cpm sample` on the packaged model: seconds from the shell to the first character.

    python benchmarks/startup.py [--before REVISION] [--rounds 15] [--json FILE]

Each run is a new process. Beside it run `python -c pass` and `python -c "import numpy"`, which no
start can be faster than, and `cpm sample` of another git revision, with the kernels of this one.
The runs are interleaved; medians and quartiles are shown, of the clock until the first character
and until the end, and of the processor's time, which other programs disturb less. The table of
words is prepared before the rounds; `first use` is one run with an empty cache.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

if __package__:
    from benchmarks import machine
else:  # run as a script
    sys.path.insert(0, str(Path(__file__).parent.parent))
    from benchmarks import machine

ROOT = Path(__file__).parent.parent
# An installation in place answers for `cpm_lm` before the path is looked at.
COMMAND = """
import sys
root = sys.argv.pop(1)
sys.meta_path[:] = [each for each in sys.meta_path if "editable" not in type(each).__module__]
sys.path.insert(0, root)
from cpm_lm.cli import main
assert sys.modules["cpm_lm"].__file__.startswith(root), sys.modules["cpm_lm"].__file__
main()
"""
SAMPLE = ("sample", "今天的天空", "-n", "1", "--max-tokens", "16", "--seed", "1")


@dataclass(frozen=True, kw_only=True)
class Run:
    """One process."""

    name: str
    first: float
    """Seconds until the first byte of output; until the end without output."""
    total: float
    """Seconds until the end."""
    cpu: float
    """Seconds of all processors."""


def timed(name: str, command: list[str], variables: dict[str, str]) -> Run:
    """Run a process to its end."""
    read, write = os.pipe()
    started = time.perf_counter()
    process = subprocess.Popen(
        command, stdout=write, stderr=subprocess.DEVNULL, env=os.environ | variables
    )
    os.close(write)
    said = os.read(read, 1)
    first = time.perf_counter() - started
    while os.read(read, 1 << 16):
        pass
    os.close(read)
    _, status, used = os.wait4(process.pid, 0)
    total = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{name}: exit status {process.returncode}")
    return Run(
        name=name, first=first if said else total, total=total, cpu=used.ru_utime + used.ru_stime
    )


@contextmanager
def checkout(revision: str) -> Iterator[Path]:
    """Unpack a revision, with this tree's kernels, for the duration of a `with` statement."""
    with tempfile.TemporaryDirectory() as folder:
        archive = ["git", "-C", str(ROOT), "archive", "--format=tar", revision, "src"]
        files = subprocess.run(archive, capture_output=True, check=True).stdout
        with tarfile.open(fileobj=io.BytesIO(files)) as packed:
            packed.extractall(folder, filter="data")
        for kernels in (ROOT / "src/cpm_lm").glob("_native*"):
            shutil.copy(kernels, Path(folder, "src/cpm_lm"))
        yield Path(folder)


def sample_of(tree: Path) -> list[str]:
    return [sys.executable, "-c", COMMAND, str(tree / "src"), *SAMPLE]


def measure(before: str | None, rounds: int) -> list[Run]:
    commands = {
        "python -c pass": [sys.executable, "-c", "pass"],
        'python -c "import numpy"': [sys.executable, "-c", "import numpy"],
        "cpm sample": sample_of(ROOT),
    }
    with tempfile.TemporaryDirectory() as cache, checkout(before or "HEAD") as tree:
        variables = {"XDG_CACHE_HOME": cache}
        if before:
            commands[f"cpm sample, {before}"] = sample_of(tree)
        for command in commands.values():  # compile the modules, prepare the words
            timed("warm-up", command, variables)
        runs = [
            timed(name, command, variables)
            for _ in range(rounds)
            for name, command in commands.items()
        ]
        with tempfile.TemporaryDirectory() as empty:
            runs.append(timed("first use", commands["cpm sample"], {"XDG_CACHE_HOME": empty}))
    return runs


def summary(runs: list[Run]) -> Iterator[str]:
    """Yield a line for each contender: medians, and the quartiles of the first character."""
    yield f"{'':<34}{'first':>8}{'quartiles':>16}{'total':>8}{'CPU':>8}  seconds"
    for name in dict.fromkeys(run.name for run in runs):
        own = [run for run in runs if run.name == name]
        times = [run.first for run in own]
        quartiles = statistics.quantiles(times, n=4, method="inclusive") if own[1:] else times * 3
        low, _, high = quartiles
        yield (
            f"{name:<34}{statistics.median(times):>8.3f}{low:>10.3f}{high:>6.3f}"
            f"{statistics.median(run.total for run in own):>8.3f}"
            f"{statistics.median(run.cpu for run in own):>8.3f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description="Time the start of `cpm sample`.")
    parser.add_argument("--before", help="a git revision to compare with")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", type=Path, help="write every run to a file")
    args = parser.parse_args()
    print(machine.describe())
    runs = measure(args.before, args.rounds)
    print(*summary(runs), sep="\n")
    if args.json:
        args.json.write_text(json.dumps([asdict(run) for run in runs], indent=1))


if __name__ == "__main__":
    main()
