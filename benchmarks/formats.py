"""Convert and export a checkpoint of CPM-LM's size: time, memory, bytes read and written.

    python benchmarks/formats.py [--layers 32] [--directory DIR] [--only f16]

Two float16 ranks of CPM-LM's width, with random weights (5.2 GB at 32 layers), are converted to a
float16 store. The store is exported to SavedModels; each is loaded and generates a few tokens.
Every step is a process; where `cpm` has a command, it is that command. Memory is the largest
RssAnon (pages of the process, not of mapped files), read every hundredth of a second. Bytes are
those of /proc/self/io from and to the disk; the files to be read are dropped from the page cache
before. Everything is deleted at the end. Linux only.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np

from cpm_lm.checkpoints.layout import Dims, shapes
from cpm_lm.checkpoints.layouts.megatron_writer import write_megatron
from cpm_lm.checkpoints.tensors import ShardedTensor, Tensor
from cpm_lm.config import GPTConfig

COMMAND = """
import sys
from cpm_lm.cli import cpm
try:
    cpm(sys.argv[2:])
finally:
    open(sys.argv[1], "w").write(open("/proc/self/io").read())
"""
GENERATE = """
import sys, time
start = time.perf_counter()
import tensorflow as tf
model = tf.saved_model.load(sys.argv[2])
loaded = time.perf_counter()
def generate(length):
    return model.signatures["serving_default"](
        inp=tf.constant([[3, 1, 4, 1, 5, 9, 2, 6]], tf.int64),
        length=tf.constant(length, tf.int64),
        top_p=tf.constant(1.0), temperature=tf.constant(0.0))["output_0"]
assert generate(1).shape == (1, 9)
first = time.perf_counter()
assert generate(9).shape == (1, 17)
rest = time.perf_counter() - first
print(f"loaded in {loaded - start:.1f} s, first token after {first - loaded:.1f} s, "
      f"then a call for 9 tokens took {rest:.1f} s")
open(sys.argv[1], "w").write(open("/proc/self/io").read())
"""


@dataclass(frozen=True)
class Step:
    """What one process needed; sizes in bytes."""

    name: str
    seconds: float
    anonymous: int
    read: int
    written: int
    made: int
    """The size of its output."""


def config_of(layers: int) -> GPTConfig:
    return GPTConfig(vocab_size=30000, n_positions=1024, n_embd=2560, n_layer=layers, n_head=32)


def random_tensors(config: GPTConfig) -> dict[str, ShardedTensor]:
    """Every tensor is a slice of one random array, each with its own offset."""
    sizes = shapes(Dims.of(config))
    longest = max(int(np.prod(size)) for size in sizes.values())
    numbers = np.random.default_rng(0).standard_normal(longest + len(sizes), np.float32)
    block = (0.02 * numbers).astype(np.float16)
    tensors = {}
    for at, (name, size) in enumerate(sizes.items()):
        array = block[at : at + int(np.prod(size))].reshape(size)
        if name.startswith("ln_f.w") or ".ln_1.w" in name or ".ln_2.w" in name:
            array = array + np.float16(1)
        tensors[name] = ShardedTensor((Tensor(array, "F16"),))
    return tensors


def size_of(path: Path) -> int:
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def drop_from_page_cache(path: Path) -> None:
    """Drop a folder's files from the page cache, so that reading them is counted."""
    for file in path.rglob("*"):
        if file.is_file():
            with file.open("rb") as opened:
                os.fsync(opened.fileno())
                os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def anonymous(process: subprocess.Popen[bytes]) -> int:
    try:
        lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon")), 0)


def run(
    name: str, program: str, *words: str | Path, reads: Path | None, makes: Path | None
) -> Step:
    """Run a program in a process and measure it.

    Args:
        name: of the step.
        program: Python source; its first argument is the file for /proc/self/io.
        words: its other arguments.
        reads: a folder to drop from the page cache before.
        makes: the folder that it writes.

    Raises:
        SystemExit: the program failed.
    """
    if reads is not None:
        drop_from_page_cache(reads)
    with tempfile.NamedTemporaryFile("r") as counted:
        command = [sys.executable, "-c", program, counted.name, *map(str, words)]
        environment = os.environ | {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "2"}
        start, peak = time.perf_counter(), 0
        process = subprocess.Popen(command, env=environment)
        try:
            while process.poll() is None:
                peak = max(peak, anonymous(process))
                time.sleep(0.01)
        finally:
            process.kill()
        seconds = time.perf_counter() - start
        if process.returncode:
            raise SystemExit(f"{name} failed with exit code {process.returncode}")
        counts = dict(line.split(": ") for line in counted.read().splitlines())
    made = 0 if makes is None else size_of(makes)
    return Step(name, seconds, peak, int(counts["read_bytes"]), int(counts["write_bytes"]), made)


def check_space(folder: Path, config: GPTConfig, formats: list[str]) -> None:
    """Stop if disk or memory is too small."""
    widest = max((4 if name == "f32" else 2) for name in formats) if formats else 0
    disk = config.parameter_count * (2 + 2 + widest)
    free = shutil.disk_usage(folder).free
    memory = config.parameter_count * widest * 5 // 4 + (1 << 30)
    lines = Path("/proc/meminfo").read_text().splitlines()
    available = next(int(line.split()[1]) for line in lines if "MemAvailable" in line) * 1024
    for what, needed, found in (("disk", disk, free), ("memory", memory, available)):
        if found < needed:
            raise SystemExit(
                f"{what}: {found / 1e9:.1f} GB free, about {needed / 1e9:.1f} GB needed; "
                "use fewer --layers, --only f16, or another --directory"
            )


def report(steps: list[Step]) -> None:
    print("| step | seconds | peak RssAnon, MB | read, MB | written, MB | made, MB |")
    print("|---|---|---|---|---|---|")
    for step in steps:
        sizes = (step.anonymous, step.read, step.written, step.made)
        print(
            f"| {step.name} | {step.seconds:.1f} | "
            + " | ".join(f"{s / 1e6:.0f}" for s in sizes)
            + " |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layers", type=int, default=32)
    parser.add_argument("--directory", type=Path, help="directory for temporary files")
    parser.add_argument("--only", choices=["f16", "f32"], help="one SavedModel instead of two")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # so that the files are deleted
    config, formats = config_of(args.layers), [args.only] if args.only else ["f16", "f32"]
    git = ["git", "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()
    print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, load "
        f"{os.getloadavg()[0]:.1f}, commit {commit}, {time.strftime('%Y-%m-%d')}, tensorflow "
        f"{version('tensorflow')}; {args.layers} layers, {config.parameter_count:,} parameters",
        flush=True,
    )
    with tempfile.TemporaryDirectory(dir=args.directory, prefix="cpm-formats-") as name:
        folder = Path(name)
        check_space(folder, config, formats)
        shards, store = folder / "shards", folder / "store"
        shards.mkdir()
        tensors = random_tensors(config)
        write_megatron(
            shards, config, tensors, "f16", ranks=2, layout="deepspeed", iteration=1,
            on_bytes=lambda _: None,
        )  # fmt: skip
        del tensors
        words = ("convert", shards, store, "--weights", "f16", "--heads", "32")
        steps = [run("two ranks to an f16 store", COMMAND, *words, reads=shards, makes=store)]
        shutil.rmtree(shards)
        for weights in formats:
            saved = folder / weights
            words = ("export", store, saved, "--format", "saved-model", "--weights", weights)
            steps.append(
                run(f"store to an {weights} SavedModel", COMMAND, *words, reads=store, makes=saved)
            )
            steps.append(
                run(
                    f"load the {weights} SavedModel, 10 tokens",
                    GENERATE,
                    saved,
                    reads=saved,
                    makes=None,
                )
            )
            shutil.rmtree(saved)
    report(steps)


if __name__ == "__main__":
    main()
