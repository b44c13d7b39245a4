"""Fuzz the parsers that are written in Python, guided by the lines they reach: `make fuzz`.

Needs atheris (the dependency group `fuzz`), which is not there for every Python; without it this is
left out, and says so. Each parser runs in a process of its own, because libFuzzer ends it.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import FunctionType
from typing import Any

LEFT_OUT = (
    "!!! COVERAGE-GUIDED FUZZING WAS LEFT OUT: atheris is not installed "
    "(python -m pip install --group fuzz)\n"
)


def parsers() -> dict[str, tuple[Callable[[bytes], Any], list[bytes]]]:
    """Return by name each parser of bytes, and what to begin with."""
    from cpm_lm.checkpoints.containers import tensor_bundle
    from cpm_lm.checkpoints.containers.safetensors_header import parse_header
    from cpm_lm.config import GPTConfig
    from cpm_lm.errors import CheckpointError, ConfigError
    from cpm_lm.json_file import decode_json
    from tests.hostile import models, wire

    entries, _ = wire.bundle()
    listed = [(0, key.encode(), entries[key]) for key in sorted(entries)]

    def config(data: bytes) -> None:
        values = decode_json(data.decode("utf-8", "replace"), "x", ConfigError)
        if isinstance(values, dict):
            GPTConfig.from_json(values)

    def ours(parse: Callable[[bytes], Any]) -> Callable[[bytes], None]:
        """A parser within the bundle, whose caller turns these errors into one of ours."""

        def tried(data: bytes) -> None:
            with contextlib.suppress(ValueError, KeyError):
                parse(data)

        return tried

    return {
        "json": (
            lambda data: decode_json(data.decode("utf-8", "replace"), "x", CheckpointError),
            [models.HEADER.encode(), b'["\\ud800", 1e9, NaN]'],
        ),
        "config": (config, [b'{"n_embd": 4, "n_layer": 1, "vocab_size": 8}']),
        "safetensors": (
            lambda data: parse_header(data, "x"),
            [models.HEADER.encode(), b'{"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}'],
        ),
        "block": (
            ours(lambda data: list(tensor_bundle._block_entries(data, 1 << 16))),
            [wire.block(listed)],
        ),
        "entry": (ours(tensor_bundle._parse_entry), list(entries.values())),
    }


def instrument(atheris: Any) -> None:
    """Let every function of the package that is loaded tell which lines it reaches."""
    modules = [module for name, module in sys.modules.items() if name.startswith("cpm_lm")]
    for module in modules:
        for function in vars(module).values():
            if isinstance(function, FunctionType) and function.__module__ == module.__name__:
                atheris.instrument_func(function)


def run(name: str, seconds: int, folder: Path) -> int:
    """Fuzz one parser in this process until its time is over; it exits."""
    import atheris

    from cpm_lm.errors import CpmError

    parse, seeds = parsers()[name]
    instrument(atheris)

    def tried(data: bytes) -> None:
        with contextlib.suppress(CpmError):
            parse(data)

    for at, seed in enumerate(seeds):
        (folder / f"seed{at}").write_bytes(seed)
    options = [f"-max_total_time={seconds}", "-timeout=10", "-rss_limit_mb=2048", "-verbosity=0"]
    atheris.Setup([sys.argv[0], *options, f"-artifact_prefix={folder}/", str(folder)], tried)
    atheris.Fuzz()
    return 0


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seconds", type=float, default=100, help="in total")
    options.add_argument("--parser", help="this parser only, in this process")
    options.add_argument("--folder", type=Path)
    chosen = options.parse_args()
    if importlib.util.find_spec("atheris") is None:
        sys.stderr.write(LEFT_OUT)
        return 0
    if chosen.parser:
        return run(chosen.parser, int(chosen.seconds), chosen.folder)
    names = list(parsers())
    for name in names:
        folder = tempfile.mkdtemp(prefix=f"fuzz-{name}-")
        each = max(1, int(chosen.seconds / len(names)))
        words = ["--parser", name, "--seconds", f"{each}", "--folder", folder]
        command = [sys.executable, "-m", __spec__.name, *words]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode:
            sys.stderr.write(f"{done.stderr[-5000:]}\n{name}: failed, see {folder}\n")
            return done.returncode
        reached = sum(1 for _ in Path(folder).iterdir())
        shutil.rmtree(folder)
        sys.stdout.write(f"{name}: {each} s, {reached} inputs that reach something else\n")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
