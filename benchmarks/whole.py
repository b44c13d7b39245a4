"""CPM-LM's full size in 8 and 4 bits: convert, open, first token, decode, 300 samples.

    python -m benchmarks.whole [--layers 32] [--directory DIR] [--write]

Two float16 ranks of random weights (5.2 GB at 32 layers) are converted to q8 and to q4. Each store
is opened with its files in the page cache; it generates a first token, tokens one by one, and
samples of one prompt. `torch.load` of both ranks is measured for comparison if torch is installed.
Every step is a process, measured as in `formats.py`. The stores have no tokenizer, so prompts are
token ids. `--write` puts the table into docs/performance.md and its twin. If the run is stopped,
the table has the finished steps. All files are deleted at the end. Linux only; about 11 GB of disk.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.formats import COMMAND, Step, config_of, random_tensors, run, size_of
from benchmarks.machine import available_memory, describe
from benchmarks.pages import translated, write_pages
from cpm_lm.checkpoints.layouts.megatron_writer import write_megatron
from cpm_lm.config import GPTConfig

PAGE = Path(__file__).parent.parent / "docs" / "performance.md"
MARK = "python -m benchmarks.whole"
PHRASES = {
    r"^(\d+) layers, ([\d,]+) parameters\. ": r"\1 层，\2 个参数。",
    r", (\d+) cores, load ([\d.]+), ([\d-]+), commit (\S+) at the start\.$": (
        r"，\1 核，开始时负载 \2，\3，提交 \4。"
    ),
    r"^\| step \| s \| peak RssAnon, MB \| read, MB \| written, MB \| made, MB \| result \|$": (
        "| 步骤 | 秒 | RssAnon 峰值，MB | 读，MB | 写，MB | 产物，MB | 结果 |"
    ),
    r"two shards to (\w+)": r"两份分片转换为 \1",
    r"(\w+): open, first token after (\d+)": r"\1：打开，\2 个词元后的首个词元",
    r"torch\.load of both shards": "torch.load 装载两份分片",
    r"(\w+): token by token": r"\1：逐个词元生成",
    r"(\w+): (\d+) samples of (\d+) after (\d+)": r"\1：\2 个样本，各 \3 个词元，提示 \4 个",
    r"opened in ([\d.]+) s, first token ([\d.]+) s later": r"\1 秒打开，再过 \2 秒得到首个词元",
    r"; memory ([\d.]+%) of the file": r"；内存为文件的 \1",
    r" ?\(target met\)": "（达标）",
    r" ?\(target missed\)": "（未达标）",
    r"loaded in ([\d.]+) s, after ([\d.]+) s of import; torch": r"\1 秒装载，之前导入 \2 秒；torch",
    r"([\d.]+) tokens/s, the median of (\d+), (\d+) threads": (
        r"\1 词元/秒，\2 次的中位数，\3 个线程"
    ),
    r"([\d,]+) rows \(unmerged: ([\d,]+)\) in ([\d.]+) s, ([\d.]+) rows/s": (
        r"\1 行（不合并：\2），\3 秒，\4 行/秒"
    ),
    r"^Not all steps were run: (.*)\.$": r"没有运行全部步骤：\1。",
}
"""The report's words in Chinese; see `pages.translated`."""
FORMATS = ("q8", "q4")
MOST_MEMORY = 1e9
"""Target: anonymous memory of a conversion, in bytes."""
MOST_SECONDS = 3.0
"""Target: time to the first token of q8, including the start of Python."""
MOST_SHARE = 0.15
"""Target: anonymous memory at the first token, as a share of the store's size."""

OPEN = """
import json, sys, time
start = time.perf_counter()
from cpm_lm.engines.forest import chain
from cpm_lm.engines.select import open_engine
counts, report, directory = sys.argv[1:4]
engine = open_engine(directory, engine="native")
opened = time.perf_counter() - start
def prompt(count):
    return [7919 * i % engine.config.vocab_size for i in range(1, count + 1)]
def write_report(**values):
    json.dump(values | {"threads": engine.threads}, open(report, "w"))
    open(counts, "w").write(open("/proc/self/io").read())
"""
FIRST = (
    OPEN
    + """
nodes, logits = engine.session().extend(prompt(8), chain(8))
token = int(logits[0].argmax())
write_report(opened=opened, first=time.perf_counter() - start - opened)
"""
)
DECODE = (
    OPEN
    + """
session = engine.session()
nodes, logits = session.extend(prompt(8), chain(8))
seconds = []
for _ in range(int(sys.argv[4])):
    begin = time.perf_counter()
    nodes, logits = session.extend([int(logits[0].argmax())], [int(nodes[-1])])
    seconds.append(time.perf_counter() - begin)
timed = sorted(seconds[2:])
write_report(tokens=len(timed), median=timed[len(timed) // 2])
"""
)
SAMPLE = (
    OPEN
    + """
from cpm_lm.decoding.rng import Independent
from cpm_lm.distributions.rules import Rules
from cpm_lm.decoding.sampling import Limits, sample
from cpm_lm.decoding.scheduler import run
n, tokens, length = int(sys.argv[4]), 10, 60
capacity = length + n * tokens
limits = Limits(max_tokens=tokens, n_positions=engine.config.n_positions, end_ids=(),
                capacity=capacity)
session = engine.session(capacity)
begin = time.perf_counter()
sampled = run(
    session, sample(prompt(length), n, rules=Rules(), source=Independent(1), limits=limits)
)
seconds = time.perf_counter() - begin
assert len(sampled.continuations) == n
write_report(rows=sampled.rows, unmerged=sampled.rows_unmerged, seconds=seconds)
"""
)
TORCH = """
import json, sys, time
start = time.perf_counter()
import torch
imported = time.perf_counter()
ranks = [torch.load(path, map_location="cpu", weights_only=True) for path in sys.argv[3:]]
json.dump({"imported": imported - start, "loaded": time.perf_counter() - imported,
           "version": torch.__version__}, open(sys.argv[2], "w"))
open(sys.argv[1], "w").write(open("/proc/self/io").read())
"""


@dataclass(frozen=True)
class Row:
    """A step and its results."""

    step: Step
    words: str
    """The last column: results, and whether the targets are met."""


def read_into_page_cache(path: Path) -> None:
    """Read a folder's files, so that they are in the page cache."""
    room = bytearray(1 << 24)
    for file in path.rglob("*"):
        if file.is_file():
            with file.open("rb", buffering=0) as opened:
                while opened.readinto(room):
                    pass


def run_and_report(
    name: str, program: str, folder: Path, *words: str | Path
) -> tuple[Step, dict[str, Any]]:
    """Run a program on a folder that is in the page cache; return also its report."""
    read_into_page_cache(folder)
    with tempfile.NamedTemporaryFile("r") as file:
        step = run(name, program, file.name, *words, reads=None, makes=None)
        return step, json.load(file)


def with_target(value: str, met: bool) -> str:
    return f"{value} ({'target met' if met else 'target missed'})"


def make_shards(folder: Path, config: GPTConfig) -> Path:
    """Write the two ranks."""
    shards = folder / "shards"
    shards.mkdir()
    write_megatron(
        shards, config, random_tensors(config), "f16", ranks=2, layout="deepspeed", iteration=1
    )
    return shards


def convert(shards: Path, store: Path, weights: str) -> Row:
    words = ("convert", shards, store, "--weights", weights, "--heads", "32")
    step = run(f"two shards to {weights}", COMMAND, *words, reads=shards, makes=store)
    megabytes = f"{step.anonymous / 1e6:.0f} MB"
    return Row(step, with_target(megabytes, step.anonymous < MOST_MEMORY))


def first_token(store: Path) -> Row:
    step, report = run_and_report(f"{store.name}: open, first token after 8", FIRST, store, store)
    share = step.anonymous / size_of(store)
    seconds = f"opened in {report['opened']:.2f} s, first token {report['first']:.2f} s later"
    if store.name == "q8":
        seconds = with_target(seconds, step.seconds < MOST_SECONDS)
    return Row(
        step, f"{seconds}; memory {with_target(f'{share:.1%} of the file', share < MOST_SHARE)}"
    )


def decode(store: Path, tokens: int) -> Row:
    step, report = run_and_report(
        f"{store.name}: token by token", DECODE, store, store, str(tokens + 2)
    )
    rate = f"{1 / report['median']:.2f} tokens/s, the median of {report['tokens']}"
    return Row(step, f"{rate}, {report['threads']} threads")


def sample(store: Path, n: int) -> Row:
    step, report = run_and_report(
        f"{store.name}: {n} samples of 10 after 60", SAMPLE, store, store, str(n)
    )
    rows = (
        f"{report['rows']:,} rows (unmerged: {report['unmerged']:,}) in {report['seconds']:.1f} s"
    )
    return Row(step, f"{rows}, {report['rows'] / report['seconds']:.1f} rows/s")


def load_with_torch(shards: Path) -> Row:
    ranks = sorted(shards.rglob("*.pt"))
    step, report = run_and_report("torch.load of both shards", TORCH, shards, *ranks)
    words = f"loaded in {report['loaded']:.1f} s, after {report['imported']:.1f} s of import"
    return Row(step, f"{words}; torch {report['version']}")


def measure(folder: Path, config: GPTConfig, args: argparse.Namespace) -> Iterator[Row]:
    """Yield each step when it ends; the longest steps come last."""
    shards = make_shards(folder, config)
    stores = [folder / weights for weights in FORMATS]
    for store in stores:
        yield convert(shards, store, store.name)
    yield from map(first_token, stores)
    if not find_spec("torch"):
        print("torch is not installed: left out", flush=True)
    elif (available_memory() or 0) < 1.2 * size_of(shards):
        print("torch.load needs more memory than is free: left out", flush=True)
    else:
        yield load_with_torch(shards)
    shutil.rmtree(shards)
    for store in stores:
        yield decode(store, args.tokens)
    for store in stores:
        yield sample(store, args.samples)


def table(rows: list[Row]) -> list[str]:
    lines = ["| step | s | peak RssAnon, MB | read, MB | written, MB | made, MB | result |"]
    lines += ["|---|---|---|---|---|---|---|"]
    for row in rows:
        step = row.step
        sizes = (step.anonymous, step.read, step.written, step.made)
        numbers = " | ".join(f"{size / 1e6:.0f}" for size in sizes)
        lines.append(f"| {step.name} | {step.seconds:.1f} | {numbers} | {row.words} |")
    return lines


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--layers", type=int, default=32)
    parser.add_argument("--samples", type=int, default=300)
    parser.add_argument("--tokens", type=int, default=16, help="timed decode steps")
    parser.add_argument("--directory", type=Path, help="directory for temporary files")
    parser.add_argument("--write", action="store_true", help="put the table into the pages")
    args = parser.parse_args()
    if args.write and args.layers != 32:
        parser.error("--write is for all 32 layers")
    return args


def main() -> None:
    args = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # so that the files are deleted
    config, machine = config_of(args.layers), describe()
    head = f"{args.layers} layers, {config.parameter_count:,} parameters. {machine} at the start."
    print(head, flush=True)
    rows: list[Row] = []
    left = ""
    with tempfile.TemporaryDirectory(dir=args.directory, prefix="cpm-whole-") as name:
        if (free := shutil.disk_usage(name).free) < (need := 4 * config.parameter_count):
            raise SystemExit(f"disk: {free / 1e9:.1f} GB free, about {need / 1e9:.1f} GB needed")
        try:
            for row in measure(Path(name), config, args):
                rows.append(row)
                print(f"{row.step.name}: {row.step.seconds:.1f} s; {row.words}", flush=True)
        except (SystemExit, KeyboardInterrupt) as stop:
            left = f"Not all steps were run: {stop or 'interrupted'}."
    text = "\n".join([head, "", *table(rows), *(["", left] if left else [])])
    print(text)
    if args.write:
        write_pages(PAGE, MARK, chinese=translated(text, PHRASES), english=text)
    if left:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
