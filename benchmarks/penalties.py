"""Measure what the filters of a path cost: 300 samples of a poem, with and without them.

    python -m benchmarks.penalties --rounds 7
    python -m benchmarks.penalties --rounds 3 --clock cpu --only penalty

Every filter draws the same number of samples of the same prompt from the model in the package. The
runs are interleaved, and the ratio of two neighbors in a round is taken, so that a change of the
machine's speed meets both. Medians and quartiles of these ratios are printed.

"same rows" are filters so weak that the texts do not change (a penalty of 1.000000001), so that the
rows are the same, and the difference is the cost of the edits alone; the rows are checked. The
others change the texts, and their seconds are divided by their rows. On a machine that others use,
`--clock cpu` counts the processor time of this process instead of the time that passes.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from typing import Any

import numpy as np

import cpm_lm

PROMPT = "静夜思\n李白\n床前明月光，疑是地上霜。举头望明月，低头思故乡。\n春晓\n孟浩然\n"
SEED = 1
WEAK = 1.000000001

SAME_ROWS: dict[str, dict[str, Any]] = {
    "repetition penalty": {"repetition_penalty": WEAK},
    "presence and frequency": {"presence_penalty": WEAK - 1, "frequency_penalty": WEAK - 1},
    "n-grams of 60": {"no_repeat_ngram": 60},
    "bias of a token": {"bias": {0: WEAK - 1}},
}
OTHER_ROWS: dict[str, dict[str, Any]] = {
    "repetition penalty 1.2": {"repetition_penalty": 1.2},
    "n-grams of 3": {"no_repeat_ngram": 3},
    "a banned text": {"ban": "春"},
    "min-p 0.05": {"min_p": 0.05},
    "typical-p 0.9": {"typical_p": 0.9},
    "5 alternatives": {"top_logprobs": 5},
}


CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


def run(
    model: cpm_lm.Model, n: int, options: dict[str, Any], clock: str
) -> tuple[float, list[Any]]:
    """Return the seconds and the samples."""
    start = CLOCKS[clock]()
    samples = model.sample(PROMPT, n=n, max_tokens=24, seed=SEED, temperature=1.0, **options)
    return CLOCKS[clock]() - start, samples


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--samples", type=int, default=300)
    parser.add_argument("--engine", default="native")
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    parser.add_argument("--only", default="", help="a part of the names of the filters to measure")
    arguments = parser.parse_args()
    model = cpm_lm.load(engine=arguments.engine)
    n, clock = arguments.samples, arguments.clock
    _, plain = run(model, n, {}, clock)
    rows, texts = plain[0].rows, [sample.text for sample in plain]
    every = {k: o for k, o in {**SAME_ROWS, **OTHER_ROWS}.items() if arguments.only in k}
    ratios: dict[str, list[float]] = {name: [] for name in every}
    seconds = []
    for _ in range(arguments.rounds):
        for name, options in every.items():
            without, _ = run(model, n, {}, clock)
            took, samples = run(model, n, options, clock)
            if name in SAME_ROWS:
                assert [sample.text for sample in samples] == texts, f"{name}: the texts changed"
                assert samples[0].rows == rows
            ratios[name].append(took / without * rows / samples[0].rows)
            seconds.append(without)
    cores = len(os.sched_getaffinity(0))
    print(f"{platform.processor() or platform.machine()}, {cores} cores, numpy {np.__version__}")
    print(
        f"{model.engine.name}: {n} samples, {rows} rows, {statistics.median(seconds):.2f} s "
        f"({clock}) without filters; times that, for the same rows:"
    )
    for name, found in ratios.items():
        low, middle, high = statistics.quantiles(found, n=4, method="inclusive")
        print(f"{name:24} {middle:.2f} ({low:.2f} to {high:.2f})")


if __name__ == "__main__":
    main()
