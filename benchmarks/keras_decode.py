"""Compare one decode step: our Keras engines, the first port's program and KerasHub.

    python -m benchmarks.keras_decode [--quick] [--layers 8] [--rounds 9] [--only tensorflow,port]

All have the same random float32 weights of CPM's width and a prompt of 64 tokens. Measured are one
decode step of 1 row and of 32 rows, logits included; then 32 texts of 16 tokens with their prefill,
which our engine shares. Every implementation has a process with its weights loaded; they run in
turn, and every round also measures the read bandwidth of memory. Their logits must agree. Needs
3.2 GB for each implementation at 8 layers.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import Probe, describe

IMPLEMENTATIONS = ("tensorflow", "jax", "port", "kerashub")
ROWS = (1, 32)
CAPACITIES = (1024, 4096, 16384)


class Worker:
    """An implementation in its own process: one line of JSON is a call, one its result."""

    def __init__(self, name: str, layers: int) -> None:
        here = Path(__file__).parent / "keras_implementations.py"
        self.name = name
        self.log = tempfile.NamedTemporaryFile(suffix=f"_{name}.log", delete=False)  # noqa: SIM115
        self.process = subprocess.Popen(
            [sys.executable, str(here), name, str(layers)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
        )
        self.about = self.result()

    def call(self, **options: Any) -> Any:
        assert self.process.stdin
        print(json.dumps(options), file=self.process.stdin, flush=True)
        return self.result()

    def result(self) -> Any:
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name} stopped; see {self.log.name}")
        return json.loads(line)

    def close(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait()
        self.log.close()


def start(names: list[str], layers: int) -> list[Worker]:
    workers = []
    for name in names:
        try:
            workers.append(Worker(name, layers))
            print(f"{name}: {workers[-1].about['versions']}", flush=True)
        except RuntimeError as error:
            print(f"left out: {error}")
    return workers


def agree(workers: list[Worker]) -> None:
    """Check that all logits after the prompt agree."""
    logits = {worker.name: np.array(worker.call(do="logits")) for worker in workers}
    first = next(iter(logits.values()))
    for name, values in logits.items():
        if (error := np.abs(values - first).max()) > 1e-3:
            raise SystemExit(f"{name}: logits differ by {error}")
    print(f"logits agree within {max(np.abs(v - first).max() for v in logits.values()):.1e}")


def measure(workers: list[Worker], rounds: int, steps: int) -> tuple[list[float], dict[Any, Any]]:
    probe = Probe(len(os.sched_getaffinity(0)))
    times: dict[Any, list[float]] = {}
    bandwidth = []
    for _ in range(rounds):
        bandwidth.append(probe.bandwidth() / 1e9)
        for worker in workers:
            for rows in ROWS:
                taken = worker.call(do="step", rows=rows, steps=steps, capacity=1024)
                times.setdefault((worker.name, rows), []).append(taken)
    return bandwidth, times


def by_capacity(worker: Worker, rounds: int, steps: int) -> dict[int, float]:
    times: dict[int, list[float]] = {capacity: [] for capacity in CAPACITIES}
    for _ in range(rounds):
        for capacity in CAPACITIES:
            times[capacity].append(worker.call(do="step", rows=1, steps=steps, capacity=capacity))
    return {capacity: statistics.median(taken) for capacity, taken in times.items()}


def measure_samples(workers: list[Worker], texts: int, tokens: int, rounds: int) -> None:
    """Print how long prefill and the first tokens of many texts take, one after the other."""
    taken: dict[str, list[float]] = {worker.name: [] for worker in workers}
    for _ in range(rounds):
        for worker in workers:
            taken[worker.name].append(worker.call(do="sample", texts=texts, tokens=tokens))
    seconds = {name: statistics.median(values) for name, values in taken.items()}
    for name, value in seconds.items():
        ratio = f", {seconds['port'] / value:.1f} x first port" if "port" in seconds else ""
        print(f"{name}, {texts} texts of {tokens} tokens with their prompt: {value:.1f} s{ratio}")


def spread(values: list[float]) -> str:
    low, _, high = statistics.quantiles(values, n=4) if len(values) > 1 else values * 3
    return f"{low:.1f} to {high:.1f}"


def report(gigabytes: float, bandwidth: list[float], times: dict[Any, list[float]]) -> None:
    probe = statistics.median(bandwidth)
    print(f"read bandwidth {probe:.1f} GB/s (quartiles {spread(bandwidth)})")
    port = {
        rows: statistics.median(times["port", rows]) for rows in ROWS if ("port", rows) in times
    }
    print(
        "| implementation | rows | ms a step (quartiles) | rows/s | of bandwidth | x first port |"
    )
    print("|---|---|---|---|---|---|")
    for (name, rows), taken in times.items():
        middle = statistics.median(taken)
        share = [gigabytes / t / b for t, b in zip(taken, bandwidth, strict=True)]
        ratio = f"{port[rows] / middle:.2f}" if rows in port else ""
        print(
            f"| {name} | {rows} | {1e3 * middle:.0f} ({spread([1e3 * t for t in taken])}) "
            f"| {rows / middle:.1f} | {statistics.median(share):.0%} | {ratio} |"
        )
        if rows == 1 and statistics.median(share) > 1:
            print("VOID: a share of the bandwidth is above 1: its probe was too slow")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="2 layers, 3 rounds")
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--steps", type=int, default=3, help="steps in a round; the median counts")
    parser.add_argument("--only", default=",".join(IMPLEMENTATIONS))
    args = parser.parse_args()
    if args.quick:
        args.layers, args.rounds = 2, 3
    print(describe())
    workers = start(args.only.split(","), args.layers)
    agree(workers)
    bandwidth, times = measure(workers, args.rounds, args.steps)
    report(workers[0].about["gigabytes"], bandwidth, times)
    measure_samples(workers, max(ROWS), 16, max(1, args.rounds // 3))
    for worker in workers:
        if worker.name in ("tensorflow", "jax"):
            found = by_capacity(worker, args.rounds, args.steps)
            print(
                f"{worker.name}, ms a step by capacity:",
                {k: round(1e3 * v) for k, v in found.items()},
            )
            print(f"{worker.name}, compiled shapes and seconds:", worker.call(do="compiled"))
        worker.close()


if __name__ == "__main__":
    main()
