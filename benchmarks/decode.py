"""Decoding, prefill and batches: our engine beside other libraries, on one random model.

    make bench-decode                               # CPM's width, 8 layers, 709 M parameters
    python -m benchmarks.decode --layers 32         # all 2.6 B, as far as memory allows
    python -m benchmarks.decode --quick             # 2 layers of 256: are all outputs the same?

Every contender is a process of its own with the same weights and the same number of threads. Those
of the same bits take turns; between its turns a process is stopped. In every round the bandwidth of
reading memory and the float32 peak are measured as well, and everything is a share of them. Before
any clock runs, each contender's logits after a fixed prompt must be the reference engine's, within
the tolerance of its number format; otherwise it gets no figures. `--write` puts the table into
docs/performance.md and its English twin, which say what each column means.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.machine import Probe, available_memory, describe
from benchmarks.measuring import (
    About,
    Turn,
    difference,
    shares,
    table,
    voids,
    weights_read,
)
from benchmarks.pages import translated, write_pages
from benchmarks.peers.files import Files
from benchmarks.peers.interface import SHORT, prompt
from benchmarks.peers.process import ContenderError, Process
from cpm_lm.config import GPTConfig
from cpm_lm.engines.forest import chain
from cpm_lm.engines.select import open_engine

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "performance.md"
CONTENDERS = {
    32: "ours:f32 llama.cpp:F32 llama-bench:F32 ctranslate2:float32 huggingface:f32 first-port:f32",
    16: "ours:f16 ours:bf16 llama.cpp:F16 llama-bench:F16 huggingface:bf16 first-port:f16",
    8: "ours:q8 llama.cpp:Q8_0 llama-bench:Q8_0 ctranslate2:int8 torch-int8:int8pack onnxruntime:8 "
    "litert:int8",
    4: "ours:q4 llama.cpp:Q4_0 llama-bench:Q4_0 onnxruntime:4",
}
"""`library:format` by bits."""
ROWS = ("rows 32", "rows 64")
OPERATIONS = ("decode", "prefill", *ROWS)
MEMORY = 1.3
"""What a contender needs, in sizes of its weights: they are copied, or repacked, or mapped."""
PHRASES = {
    r"^(\d+) x (\d+), (\d+) M parameters, (\d+) threads, (\d+) rounds\. ": (
        r"\1 层 × \2，\3 M 参数，\4 个线程，\5 轮。"
    ),
    r", (\d+) cores, load ([\d.]+), ([\d-]+), commit (\S+)\.$": r"，\1 核，负载 \2，\3，提交 \4。",
    r"GB/s read$": "GB/s 读带宽",
    r"GFLOP/s float32$": "GFLOP/s float32 峰值",
    r"the model in the package: (\d+) us a token, (\d+) threads, of which Python at most (\d+%)": (
        r"自带的模型：每个词元 \1 us，\2 个线程，其中 Python 至多占 \3"
    ),
    r"^\| contender \| bits \|": "| 程序 | 位数 |",
    r"\| decode tok/s \(quartiles\) \|": "| 解码，词元/秒（四分位数） |",
    r"\| of bandwidth \|": "| 占带宽 |",
    r"\| x (\w+) (?=\|)": r"| 与 \1 之比 ",
    r"\| prefill (\d+) tok/s \|": r"| 预填充 \1，词元/秒 |",
    r"\| of float32 peak \|": "| 占 float32 峰值 |",
    r"\| rows (\d+), rows/s (?=\|)": r"| \1 行，行/秒 ",
    r"\| void (?=\|)": "| 作废 ",
    r"logits differ by (\S+) deviations, (\S+) allowed": r"logits 相差 \1 个标准差，允许 \2",
    r"^VOID: shares of read bandwidth, because (.+) read more than all of it: .*$": (
        r"作废：占带宽的份额，因为 \1 超过了全部带宽：探针偏慢，或权重留在缓存里"
    ),
    r"^VOID: shares of the peak, because (.+) reached more than all of it$": (
        r"作废：占峰值的份额，因为 \1 超过了峰值"
    ),
    r"^- (\S+) left out: needs about (\d+) GB, (\d+) are free$": (
        r"- 略去 \1：约需 \2 GB，可用 \3 GB"
    ),
    r"^- (\S+) left out: ": r"- 略去 \1：",
    r", (\d+) threads(?=;|$)": r"，\1 个线程",
    r"; logits within (\S+?)(?=;|$)": r"；logits 误差不超过 \1",
    r"; without prefill": "；未测预填充",
    r"; without ": "；未测 ",
    r"\brows (\d+)(?=,|$)": r"\1 行",
    r"(?<=行), (?=\d+ 行)|(?<=预填充), ": "、",
    r"native engine; ": "native 引擎；",
    r"; as llama\.cpp": "；同 llama.cpp",
    r"first port's structure on ": "第一个移植版的结构，",
}
"""The report's words in Chinese; see `pages.translated`."""


@dataclass
class Run:
    """What has been found so far."""

    about: dict[str, About] = field(default_factory=dict)
    turns: list[Turn] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    partial: dict[str, list[str]] = field(default_factory=dict)
    """Operations that a contender does not offer, or that take too long here."""
    agreement: dict[str, float] = field(default_factory=dict)


@dataclass
class Seat:
    """A contender's place in a group: its process while there is one."""

    name: str
    files: Files
    threads: int
    timed: bool = True
    process: Process | None = None
    able: list[str] = field(default_factory=list)

    def sit(self) -> Process:
        """Return the process, started and warmed up if it was not."""
        if self.process is None:
            self.process = Process(self.name, self.files.directory, self.threads)
            wanted = OPERATIONS if self.timed else ()
            self.able = [op for op in wanted if self.process.ask("feasible", operation=op)]
        return self.process

    def turn(self, steps: int) -> dict[str, float]:
        """Return the seconds of each operation."""
        process = self.sit()
        return {op: process.ask("measure", operation=op, steps=steps) for op in self.able}

    def leave(self) -> None:
        if self.process is not None:
            self.process.close()
            self.process = None


def reference(files: Files) -> np.ndarray:
    """Return the logits that all must have, by the engine that is plain numpy."""
    ids = prompt(SHORT + 1, files.config.vocab_size)
    session = open_engine(files.store("f32"), engine="reference").session(len(ids))
    return session.extend(ids, chain(len(ids)))[1][0]


def admit(seat: Seat, expected: np.ndarray, run: Run) -> bool:
    """Start a contender and compare its outputs; say what came of it."""
    try:
        process = seat.sit()
        found = process.ask("check")
    except ContenderError as error:
        run.left_out[seat.name] = str(error)
        print(f"{seat.name}: left out: {error}", flush=True)
        return False
    about = run.about[seat.name] = process.about
    print(f"{seat.name}: {about.version}; {about.build}", flush=True)
    if seat.timed and (slow := [op for op in OPERATIONS if op not in seat.able]):
        print(f"  left out, not offered or too slow: {', '.join(slow)}", flush=True)
        run.partial[seat.name] = slow
    limit = about.limit
    with np.load(found) as ways:
        errors = {way: difference(ways[way], expected) for way in ways}
    if not errors:
        return True
    worst = run.agreement[seat.name] = max(errors.values())
    print(f"  logits differ by {errors}, of at most {limit}", flush=True)
    if not worst <= limit:
        run.failed[seat.name] = f"logits differ by {worst:.3g} deviations, {limit} allowed"
    return worst <= limit


def compete(
    seats: list[Seat], together: bool, probe: Probe, run: Run, args: argparse.Namespace
) -> None:
    """Let the contenders of a group take turns, each first as often as the others."""
    for number in range(args.rounds):
        bandwidth, peak = probe.bandwidth(), probe.peak()
        first = number % len(seats)
        for seat in seats[first:] + seats[:first]:
            if seat.name in run.left_out:
                continue
            try:
                seconds = seat.turn(args.steps)
            except ContenderError as error:
                run.left_out[seat.name] = f"round {number + 1}: {error}"
                run.turns = [turn for turn in run.turns if turn.contender != seat.name]
                continue
            turn = Turn(contender=seat.name, seconds=seconds, bandwidth=bandwidth, peak=peak)
            run.turns.append(turn)
            if not together:
                seat.leave()
        print(
            f"  round {number + 1}: {bandwidth / 1e9:.1f} GB/s, {peak / 1e9:.0f} GFLOP/s",
            flush=True,
        )


def group(
    names: list[str], bits: int, files: Files, probe: Probe, run: Run, args: argparse.Namespace
) -> None:
    """Run all contenders of the same bits."""
    need = MEMORY * weights_read(files.config) * bits / 8
    free = available_memory() or 0
    if need > free:
        for name in names:
            run.left_out[name] = f"needs about {need / 1e9:.0f} GB, {free / 1e9:.0f} are free"
        return
    together = need * len(names) < free
    seats = [Seat(name, files, args.threads, timed=args.rounds > 0) for name in names]
    expected, admitted = reference(files), []
    try:
        for seat in seats:
            if admit(seat, expected, run):
                admitted.append(seat)
            if not together or seat not in admitted:
                seat.leave()
        if admitted:
            compete(admitted, together, probe, run, args)
    finally:
        for seat in seats:
            seat.leave()


def python_share(threads: int) -> str:
    """Return what `python_share.py` prints, in a process without anything else."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.python_share", "--threads", str(threads)],
        capture_output=True,
        text=True,
        check=False,
    )
    return (done.stdout if done.returncode == 0 else done.stderr).strip().splitlines()[-1]


def report(run: Run, files: Files, args: argparse.Namespace, machine: str, share: str) -> str:
    """Return the page's text: the frame, the table, what is void or left out, who took part."""
    config = files.config
    lines = [
        f"{config.n_layer} x {config.n_embd}, {config.parameter_count / 1e6:.0f} M parameters, "
        f"{args.threads} threads, {args.rounds} rounds. {machine}.",
        "",
    ]
    for name, values in (("bandwidth", 1e9), ("peak", 1e9)):
        measured = [getattr(turn, name) / values for turn in run.turns]
        unit = {"bandwidth": "GB/s read", "peak": "GFLOP/s float32"}[name]
        if measured:
            lines += [
                f"- {np.median(measured):.1f} ({min(measured):.1f}–{max(measured):.1f}) {unit}"
            ]
    lines += [f"- {share}", ""]
    lines += table(run.turns, run.about, config, "llama", ROWS, run.failed)
    lines += ["", *filter(None, voids(shares(run.turns, run.about, config), run.about))]
    lines += [f"- {name} left out: {why}" for name, why in run.left_out.items()]
    for name, about in run.about.items():
        agreement = f"; logits within {run.agreement[name]:.1e}" if name in run.agreement else ""
        without = f"; without {', '.join(run.partial[name])}" if name in run.partial else ""
        lines += [f"- {name}: {about.version}; {about.build}{agreement}{without}"]
    return "\n".join(lines)


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--width", type=int, default=2560)
    parser.add_argument("--heads", type=int, default=32)
    parser.add_argument("--vocabulary", type=int, default=30000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=12, help="tokens of a timed text")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--bits", default="32,16,8,4", help="groups to run")
    parser.add_argument("--only", default="", help="libraries to run, such as ours,llama.cpp")
    parser.add_argument("--cache", type=Path, default=ROOT / ".bench-models")
    parser.add_argument("--keep", action="store_true", help="keep the models for another run")
    parser.add_argument("--quick", action="store_true", help="2 layers of 256, 2 rounds")
    parser.add_argument("--check", action="store_true", help="compare outputs, time nothing")
    parser.add_argument("--write", action="store_true", help="put the table into the pages")
    parser.add_argument("--json", type=Path, help="write every turn to a file")
    args = parser.parse_args(words)
    if args.quick:
        args.layers, args.width, args.heads, args.rounds = 2, 256, 4, 2
    if args.check:
        args.rounds = 0
    if args.write and args.check:
        parser.error("--write puts times into the pages, and --check takes none")
    return args


def main() -> None:
    args = arguments()
    config = GPTConfig(
        vocab_size=args.vocabulary,
        n_positions=1024,
        n_embd=args.width,
        n_layer=args.layers,
        n_head=args.heads,
    )
    started, machine = time.monotonic(), describe()
    print(machine, flush=True)
    directory = args.cache / f"{args.layers}x{args.width}x{args.heads}-{args.vocabulary}"
    run, libraries = Run(), args.only.split(",") if args.only else []
    try:
        files, probe = Files(directory, config), Probe(args.threads)
        for bits in map(int, args.bits.split(",")):
            names = CONTENDERS[bits].split()
            wanted = [n for n in names if not libraries or n.split(":")[0] in libraries]
            if wanted:
                group(wanted, bits, files, probe, run, args)
        text = report(run, files, args, machine, python_share(args.threads))
    finally:
        if not args.keep:
            shutil.rmtree(directory, ignore_errors=True)
    print(text)
    print(f"{time.monotonic() - started:.0f} s in all")
    if args.json:
        args.json.write_text(json.dumps([vars(turn) for turn in run.turns], indent=1))
    if args.write:
        mark = f"python -m benchmarks.decode --layers {config.n_layer}"
        write_pages(PAGE, mark, chinese=translated(text, PHRASES), english=text)
    if run.failed:
        raise SystemExit(f"other outputs than the model's: {', '.join(run.failed)}")


if __name__ == "__main__":
    main()
