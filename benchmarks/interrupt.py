"""How long Ctrl-C takes: from SIGINT to the end of the process, at moments all over a command.

    python -m benchmarks.interrupt                     # the model in the package
    python -m benchmarks.interrupt --width 1024        # and one of random weights, 8 layers wide
    python -m benchmarks.interrupt --frameworks        # TensorFlow and JAX too, while they load

Each command runs once to its end (or for --seconds, if it takes longer), then --times times until a
SIGINT at an even moment of that time. Limits: 0.3 s, and 2 s where a framework loads or compiles. A
busy machine takes longer: the load is printed.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cpm_lm.checkpoints.layout import Dims, shapes
from cpm_lm.checkpoints.layouts.store import write_model
from cpm_lm.checkpoints.tensors import ShardedTensor, Tensor
from cpm_lm.config import GPTConfig
from cpm_lm.model import DEMO

LIMIT, FRAMEWORK_LIMIT = 0.3, 2.0
LAYERS = 8
LONG = "床前明月光，疑是地上霜。" * 80
"""About a thousand tokens."""


@dataclass(frozen=True, kw_only=True)
class Latency:
    """The results of one command."""

    name: str
    seconds: list[float]
    codes: list[int]
    lines: list[str]
    """What was printed on stderr."""
    limit: float

    @property
    def row(self) -> str:
        """One line of the table."""
        odd = sorted({code for code in self.codes if code != 130})
        worst, median = max(self.seconds, default=0.0), statistics.median(self.seconds or [0.0])
        return (
            f"{self.name:<34} {len(self.seconds):>3}  median {median:.3f} s"
            f"  worst {worst:.3f} s (limit {self.limit})"
            + (f"  exit codes {odd}" if odd else "")
            + (f"  stderr {self.lines[:1]}" if self.lines else "")
        )


def commands(folder: Path, wide: Path | None, frameworks: bool) -> dict[str, list[str]]:
    """The commands by name; {new} is a new path for each run."""
    new = str(folder / "{new}")
    found = {
        "sample": ["sample", "今天天气", "-n", "2000", "--max-tokens", "100"],
        "sample, reference engine": ["sample", "今天", "-n", "300", "--engine", "reference"],
        "vote, exact": ["vote", "1+1=2,1+2=", "--method", "exact", "--max-tokens", "6"],
        "next, a prompt of 1,000 tokens": ["next", LONG],
        "verify": ["verify", str(DEMO)],
        "convert to q8": ["convert", str(DEMO), new, "--weights", "q8"],
    }
    if wide:
        found |= {
            "wide: bench (prefill, probes)": ["bench", "-m", str(wide), "--seconds", "20"],
            "wide: convert to q4": ["convert", str(wide), new, "--weights", "q4"],
            "wide: verify": ["verify", str(wide), "--no-loss"],
        }
    if frameworks:
        few = ["sample", "今天", "-n", "20", "--max-tokens", "50"]
        found |= {f"sample, {name}": [*few, "--engine", name] for name in ("tensorflow", "jax")}
    return found


def write_wide(folder: Path, width: int) -> Path:
    """Write a float16 store of random weights, without a tokenizer."""
    config = GPTConfig(
        vocab_size=30000, n_positions=1024, n_layer=LAYERS, n_embd=width, n_head=width // 64
    )
    rng = np.random.default_rng(0)
    tensors = {
        name: ShardedTensor((Tensor((rng.random(size, np.float32) / 8).astype("f2"), "F16"),))
        for name, size in shapes(Dims.of(config)).items()
    }
    store = folder / "wide"
    store.mkdir()
    write_model(store, config, tensors, "f16")
    return store


def start(words: list[str], number: int) -> subprocess.Popen[str]:
    words = [word.replace("{new}", f"new-{number}") for word in words]
    command = [sys.executable, "-m", "cpm_lm", *words]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def measure(name: str, words: list[str], times: int, longest: float) -> Latency:
    """Interrupt a command at even moments; a run that ends before its moment does not count."""
    began = time.perf_counter()
    with start(words, -1) as process:
        try:
            process.wait(longest)
        except subprocess.TimeoutExpired:
            process.kill()
    whole = time.perf_counter() - began
    limit = FRAMEWORK_LIMIT if words[-1] in ("tensorflow", "jax") else LIMIT
    result = Latency(name=name, seconds=[], codes=[], lines=[], limit=limit)
    for i in range(times):
        with start(words, i) as process:
            time.sleep(0.1 + (whole - 0.1) * (i + 0.5) / times)
            if process.poll() is not None:
                continue
            began = time.perf_counter()
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate()
            result.seconds.append(time.perf_counter() - began)
        result.codes.append(process.returncode)
        result.lines.extend(errors.splitlines())
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--times", type=int, default=10, help="signals per command")
    parser.add_argument("--seconds", type=float, default=20, help="the longest run of a command")
    parser.add_argument("--width", type=int, help="also a random model of this width")
    parser.add_argument("--frameworks", action="store_true", help="also TensorFlow and JAX")
    parser.add_argument("--only", default="", help="commands whose name holds this")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        wide = write_wide(folder, args.width) if args.width else None
        for title, words in commands(folder, wide, args.frameworks).items():
            if args.only in title:
                print(measure(title, words, args.times, args.seconds).row, flush=True)
        left = [entry.name for entry in folder.iterdir() if "new" in entry.name]
        unfinished = [entry for entry in left if entry.startswith(".")]
        print(f"left behind: {', '.join(unfinished) or 'nothing'}")
    print(f"{os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}, Python {sys.version.split()[0]}")


if __name__ == "__main__":
    main()
