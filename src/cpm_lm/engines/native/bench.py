"""What this machine's memory and arithmetic give, and what the native engine makes of them.

Knows kernels and engines; does not know text, files or printing. Nothing here is a benchmark of
one program against another: those lie in `benchmarks/`.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

import cpm_lm._native as kernels
from cpm_lm.checkpoints.layout import Dims, shapes
from cpm_lm.config import GPTConfig
from cpm_lm.engines.forest import chain
from cpm_lm.engines.machine import available_memory
from cpm_lm.engines.native.engine import NativeEngine

__all__ = ["Measured", "Step", "measure"]

PREFIX = 64
"""Tokens before the rows of a decoding step."""
PREFILL = 128
ROWS = (1, 32)
PROBE_BYTES = 1 << 29
"""Read to find the bandwidth: more than most processors' caches hold."""
PROBES = 3
"""Tries a round to find the bandwidth and the peak; the best of all rounds counts."""
MIN_ROUNDS = 3
TURNS = 40
"""Into so many parts the time is divided, if a step takes less than one."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """One kind of step on this model."""

    name: str
    """decode-1 and decode-32: one more token for so many texts; prefill-128: a prompt."""
    rows: int
    """Tokens in a step."""
    seconds: float
    """Of a step, the median."""
    tokens_per_second: float
    rounds: int
    """How many steps were timed."""
    of_bandwidth: float
    """The bytes of weights that a step needs, over what the memory could give in that time."""
    of_peak: float
    """The products' operations in a step, over what the processor could do in that time."""
    of_python: float
    """The share of the time that passes outside the kernels: a step of a model as deep, but with
    next to no numbers, over a step of this one."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What was measured in one run."""

    read_bytes_per_second: float
    """The best reading of memory by all threads; the processor's caches do not hold it."""
    float32_operations_per_second: float
    """The best of multiplying and adding in registers."""
    weight_bytes: int
    """What a decoding step reads: all matrices, as the store keeps them."""
    steps: tuple[Step, ...]

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON's types."""
        return asdict(self)


def measure(engine: NativeEngine, seconds: float) -> Measured:
    """Time the machine and the engine, in turns, for about so many seconds.

    Args:
        engine: the model.
        seconds: how long; at least three rounds are timed whatever they take.
    """
    config, kinds = engine.config, step_kinds(engine.config)
    engines = (engine, minimal_engine(config, engine.threads))
    steps = [prepare_step(e, length, rows) for e in engines for length, rows in kinds.values()]
    bandwidth = peak = 0.0
    times: list[list[float]] = [[] for _ in steps]
    turn, end = seconds / TURNS, time.perf_counter() + seconds
    for _ in rounds(end):
        bandwidth = max(bandwidth, kernels.read_bandwidth(engine.pool, probe_bytes(), PROBES))
        peak = max(peak, kernels.fma_peak(engine.pool, PROBES))
        for step, found in zip(steps, times, strict=True):
            step()  # what the others left in the caches is not this one's
            until = time.perf_counter() + turn
            found.append(step())
            while time.perf_counter() < until:
                found.append(step())
    medians = [statistics.median(found) for found in times]
    read = engine.weights.read_bytes
    products = config.parameter_count - config.n_positions * config.n_embd
    return Measured(
        read_bytes_per_second=bandwidth,
        float32_operations_per_second=peak,
        weight_bytes=read,
        steps=tuple(
            Step(
                name=name,
                rows=rows,
                seconds=took,
                tokens_per_second=rows / took,
                rounds=len(found),
                of_bandwidth=read / took / bandwidth,
                of_peak=2 * products * rows / took / peak,
                of_python=min(1.0, outside / took),
            )
            for (name, (_, rows)), found, took, outside in zip(
                kinds.items(), times, medians, medians[len(kinds) :], strict=False
            )
        ),
    )


def rounds(end: float) -> Iterator[None]:
    """Yield until that time, and at least MIN_ROUNDS times."""
    done = 0
    while done < MIN_ROUNDS or time.perf_counter() < end:
        yield
        done += 1


def probe_bytes() -> int:
    """Return how much to read, on a small machine a part of what it has left."""
    free = available_memory()
    return PROBE_BYTES if free is None else max(1 << 20, min(PROBE_BYTES, free // 8))


def step_kinds(config: GPTConfig) -> dict[str, tuple[int, int]]:
    """Return the length of the prefix and the rows of each kind of step, by name."""
    prefix = min(PREFIX, config.n_positions - 1)
    kinds = {f"decode-{rows}": (prefix, rows) for rows in ROWS}
    length = min(PREFILL, config.n_positions)
    return kinds | {f"prefill-{length}": (0, length)}


def prepare_step(engine: NativeEngine, prefix: int, rows: int) -> Callable[[], float]:
    """Return what makes one step below a prefix, or a prompt where there is none, and times it."""
    rng = np.random.default_rng(0)
    tokens = rng.integers(0, engine.config.vocab_size, prefix + rows, np.int32)
    session = engine.session(prefix + rows)
    parents, wanted = chain(rows), np.array([rows - 1], np.int32)
    if prefix:
        nodes, _ = session.extend(tokens[:prefix], chain(prefix))
        parents, wanted = np.repeat(nodes[-1:], rows), np.arange(rows, dtype=np.int32)

    def step() -> float:
        start = time.perf_counter()
        nodes, _ = session.extend(tokens[prefix:], parents, wanted)
        took = time.perf_counter() - start
        session.release(nodes if prefix else nodes[:1])
        return took

    step()  # memory is taken, threads are started
    return step


def minimal_engine(config: GPTConfig, threads: int) -> NativeEngine:
    """Return an engine as deep as this model whose matrices are as small as can be."""
    small = replace(config, vocab_size=1, n_embd=1, n_head=1)
    weights = {name: np.zeros(shape, np.float32) for name, shape in shapes(Dims.of(small)).items()}
    return NativeEngine(small, weights, "f32", threads=threads)
