"""Compare our engine with other libraries on one random model: decode, prefill, batches.

    make bench-decode                               # CPM's width, 8 layers, 709 M parameters
    python -m benchmarks.decode --layers 32         # all 2.6 B, as far as memory allows
    python -m benchmarks.decode --quick             # 2 layers of 256: compare the outputs

Every implementation runs in its own process, with the same weights and the same number of
threads. Implementations of the same bits run in turn; the others are suspended. Every round also
measures the read bandwidth of memory and the float32 peak; the results are shares of them. Before
anything is timed, each implementation's logits after a fixed prompt must equal those of the
reference engine, within the tolerance of its number format; one that fails this gets no figures.
`--write` puts the table into docs/performance.md and its English twin, which say what each column
means.
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
    Measurement,
    difference,
    shares,
    table,
    voids,
    weights_read,
)
from benchmarks.pages import translated, write_pages
from benchmarks.peers.files import Files
from benchmarks.peers.interface import SHORT, prompt
from benchmarks.peers.process import ImplementationError, Process
from cpm_lm.config import GPTConfig
from cpm_lm.engines.forest import chain
from cpm_lm.engines.select import open_engine

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "performance.md"
IMPLEMENTATIONS = {
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
"""Memory of an implementation, as a multiple of its weights, which it copies, repacks or maps."""
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
    r"^\| implementation \| bits \|": "| 程序 | 位数 |",
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
    """The results so far."""

    about: dict[str, About] = field(default_factory=dict)
    measurements: list[Measurement] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    partial: dict[str, list[str]] = field(default_factory=dict)
    """Operations that an implementation does not have, or that take too long here."""
    agreement: dict[str, float] = field(default_factory=dict)


@dataclass
class Runner:
    """An implementation, and its process while it runs."""

    name: str
    files: Files
    threads: int
    timed: bool = True
    process: Process | None = None
    able: list[str] = field(default_factory=list)

    def start(self) -> Process:
        """Return the process; start it and warm it up first if necessary."""
        if self.process is None:
            self.process = Process(self.name, self.files.directory, self.threads)
            wanted = OPERATIONS if self.timed else ()
            self.able = [op for op in wanted if self.process.call("feasible", operation=op)]
        return self.process

    def measure(self, steps: int) -> dict[str, float]:
        """Return the seconds of each operation."""
        process = self.start()
        return {op: process.call("measure", operation=op, steps=steps) for op in self.able}

    def stop(self) -> None:
        if self.process is not None:
            self.process.close()
            self.process = None


def reference(files: Files) -> np.ndarray:
    """Return the reference engine's logits, which all must equal."""
    ids = prompt(SHORT + 1, files.config.vocab_size)
    session = open_engine(files.store("f32"), engine="reference").session(len(ids))
    return session.extend(ids, chain(len(ids)))[1][0]


def check_outputs(runner: Runner, expected: np.ndarray, run: Run) -> bool:
    """Start an implementation, compare its outputs, print the result."""
    try:
        process = runner.start()
        found = process.call("check")
    except ImplementationError as error:
        run.left_out[runner.name] = str(error)
        print(f"{runner.name}: left out: {error}", flush=True)
        return False
    about = run.about[runner.name] = process.about
    print(f"{runner.name}: {about.version}; {about.build}", flush=True)
    if runner.timed and (slow := [op for op in OPERATIONS if op not in runner.able]):
        print(f"  left out, not available or too slow: {', '.join(slow)}", flush=True)
        run.partial[runner.name] = slow
    limit = about.limit
    with np.load(found) as ways:
        errors = {way: difference(ways[way], expected) for way in ways}
    if not errors:
        return True
    worst = run.agreement[runner.name] = max(errors.values())
    print(f"  logits differ by {errors}; limit {limit}", flush=True)
    if not worst <= limit:
        run.failed[runner.name] = f"logits differ by {worst:.3g} deviations, {limit} allowed"
    return worst <= limit


def measure_rounds(
    runners: list[Runner], together: bool, probe: Probe, run: Run, args: argparse.Namespace
) -> None:
    """Measure the implementations of a group in turn; each is first equally often."""
    for number in range(args.rounds):
        bandwidth, peak = probe.bandwidth(), probe.peak()
        first = number % len(runners)
        for runner in runners[first:] + runners[:first]:
            if runner.name in run.left_out:
                continue
            try:
                seconds = runner.measure(args.steps)
            except ImplementationError as error:
                run.left_out[runner.name] = f"round {number + 1}: {error}"
                run.measurements = [m for m in run.measurements if m.implementation != runner.name]
                continue
            run.measurements.append(
                Measurement(
                    implementation=runner.name, seconds=seconds, bandwidth=bandwidth, peak=peak
                )
            )
            if not together:
                runner.stop()
        print(
            f"  round {number + 1}: {bandwidth / 1e9:.1f} GB/s, {peak / 1e9:.0f} GFLOP/s",
            flush=True,
        )


def group(
    names: list[str], bits: int, files: Files, probe: Probe, run: Run, args: argparse.Namespace
) -> None:
    """Run all implementations of the same bits."""
    need = MEMORY * weights_read(files.config) * bits / 8
    free = available_memory() or 0
    if need > free:
        for name in names:
            run.left_out[name] = f"needs about {need / 1e9:.0f} GB, {free / 1e9:.0f} are free"
        return
    together = need * len(names) < free
    runners = [Runner(name, files, args.threads, timed=args.rounds > 0) for name in names]
    expected, checked = reference(files), []
    try:
        for runner in runners:
            if check_outputs(runner, expected, run):
                checked.append(runner)
            if not together or runner not in checked:
                runner.stop()
        if checked:
            measure_rounds(checked, together, probe, run, args)
    finally:
        for runner in runners:
            runner.stop()


def python_share(threads: int) -> str:
    """Return what `python_share.py` prints; it runs in its own process."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.python_share", "--threads", str(threads)],
        capture_output=True,
        text=True,
        check=False,
    )
    return (done.stdout if done.returncode == 0 else done.stderr).strip().splitlines()[-1]


def report(run: Run, files: Files, args: argparse.Namespace, machine: str, share: str) -> str:
    """Return the page's text: conditions, table, what is void or left out, versions."""
    config = files.config
    lines = [
        f"{config.n_layer} x {config.n_embd}, {config.parameter_count / 1e6:.0f} M parameters, "
        f"{args.threads} threads, {args.rounds} rounds. {machine}.",
        "",
    ]
    for name, words in (("bandwidth", "GB/s read"), ("peak", "GFLOP/s float32")):
        measured = [getattr(each, name) / 1e9 for each in run.measurements]
        if measured:
            lines += [
                f"- {np.median(measured):.1f} ({min(measured):.1f}–{max(measured):.1f}) {words}"
            ]
    lines += [f"- {share}", ""]
    lines += table(run.measurements, run.about, config, "llama", ROWS, run.failed)
    lines += ["", *filter(None, voids(shares(run.measurements, run.about, config), run.about))]
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
    parser.add_argument("--json", type=Path, help="write every measurement to a file")
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
            names = IMPLEMENTATIONS[bits].split()
            wanted = [n for n in names if not libraries or n.split(":")[0] in libraries]
            if wanted:
                group(wanted, bits, files, probe, run, args)
        text = report(run, files, args, machine, python_share(args.threads))
    finally:
        if not args.keep:
            shutil.rmtree(directory, ignore_errors=True)
    print(text)
    print(f"{time.monotonic() - started:.0f} s in total")
    if args.json:
        args.json.write_text(json.dumps([vars(each) for each in run.measurements], indent=1))
    if args.write:
        mark = f"python -m benchmarks.decode --layers {config.n_layer}"
        write_pages(PAGE, mark, chinese=translated(text, PHRASES), english=text)
    if run.failed:
        raise SystemExit(f"the outputs of {', '.join(run.failed)} are not the model's")


if __name__ == "__main__":
    main()
