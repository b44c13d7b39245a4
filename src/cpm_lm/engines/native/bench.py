"""Measure a machine's bandwidth and peak, and the shares that the native engine reaches.

Knows kernels and engines; does not know text, files or printing. Comparisons with other programs
are in `benchmarks/`.
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
"""Tokens in the KV cache before the rows of a decode step."""
PREFILL = 128
"""Tokens of the prefill step."""
ROWS = (1, 32)
"""Rows of the decode steps."""
PROBE_BYTES = 1 << 29
"""Bytes read to measure the bandwidth: more than the caches of most processors."""
PROBES = 3
"""Repetitions of each probe in a round; the best of all rounds counts."""
MIN_ROUNDS = 3
TURNS = 40
"""The time is divided into this many turns; a step that is shorter is repeated for one turn."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """The timing of one kind of step of this model."""

    name: str
    """decode-1 and decode-32: one more token for 1 or 32 texts; prefill-128: a prompt."""
    rows: int
    """Tokens in a step."""
    seconds: float
    """The median duration of a step."""
    tokens_per_second: float
    rounds: int
    """The number of steps timed."""
    of_bandwidth: float
    """The share of the memory bandwidth: the bytes of weights that a step reads, per second, over
    the bandwidth measured."""
    of_peak: float
    """The share of the peak: the operations of a step's matrix products, per second, over the peak
    measured."""
    of_python: float
    """The share of the time outside the kernels: the time of a step of a model of equal depth with
    matrices of one number, over the time of this step."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """The results of one run."""

    read_bytes_per_second: float
    """The memory bandwidth: all threads read more than the caches hold; the best probe."""
    float32_operations_per_second: float
    """The float32 peak: fused multiply-adds on registers by all threads; the best probe."""
    weight_bytes: int
    """The bytes that a decode step reads: all matrices, in the store's number format."""
    steps: tuple[Step, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the results as JSON types."""
        return asdict(self)


def measure(engine: NativeEngine, seconds: float) -> Measured:
    """Measure the machine and the engine in turn.

    Args:
        engine: the model.
        seconds: the approximate duration; at least MIN_ROUNDS rounds are timed.
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
            step()  # a warm-up, because the step before has filled the caches with its own data
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
                seconds=median,
                tokens_per_second=rows / median,
                rounds=len(found),
                of_bandwidth=read / median / bandwidth,
                of_peak=2 * products * rows / median / peak,
                of_python=min(1.0, minimal / median),
            )
            for (name, (_, rows)), found, median, minimal in zip(
                kinds.items(), times, medians, medians[len(kinds) :], strict=False
            )
        ),
    )


def rounds(end: float) -> Iterator[None]:
    """Yield until the time `end`, and at least MIN_ROUNDS times."""
    done = 0
    while done < MIN_ROUNDS or time.perf_counter() < end:
        yield
        done += 1


def probe_bytes() -> int:
    """Return how many bytes to read: PROBE_BYTES, or an eighth of the available memory if less."""
    free = available_memory()
    return PROBE_BYTES if free is None else max(1 << 20, min(PROBE_BYTES, free // 8))


def step_kinds(config: GPTConfig) -> dict[str, tuple[int, int]]:
    """Return (tokens of the prefix, rows) of each kind of step, by name."""
    prefix = min(PREFIX, config.n_positions - 1)
    kinds = {f"decode-{rows}": (prefix, rows) for rows in ROWS}
    length = min(PREFILL, config.n_positions)
    return kinds | {f"prefill-{length}": (0, length)}


def prepare_step(engine: NativeEngine, prefix: int, rows: int) -> Callable[[], float]:
    """Return a function that computes one step and returns its duration in seconds.

    Args:
        engine: the model.
        prefix: the tokens before a decode step; 0 for a prefill step.
        rows: the tokens of the step.
    """
    rng = np.random.default_rng(0)
    tokens = rng.integers(0, engine.config.vocab_size, prefix + rows, np.int32)
    session = engine.session(prefix + rows)
    parents, logits_at = chain(rows), np.array([rows - 1], np.int32)
    if prefix:
        nodes, _ = session.extend(tokens[:prefix], chain(prefix))
        parents, logits_at = np.repeat(nodes[-1:], rows), np.arange(rows, dtype=np.int32)

    def step() -> float:
        start = time.perf_counter()
        nodes, _ = session.extend(tokens[prefix:], parents, logits_at)
        seconds = time.perf_counter() - start
        session.release(nodes if prefix else nodes[:1])
        return seconds

    step()  # a warm-up: allocates memory and starts threads
    return step


def minimal_engine(config: GPTConfig, threads: int) -> NativeEngine:
    """Return an engine of this model's depth whose vocabulary and width are 1."""
    small = replace(config, vocab_size=1, n_embd=1, n_head=1)
    weights = {name: np.zeros(shape, np.float32) for name, shape in shapes(Dims.of(small)).items()}
    return NativeEngine(small, weights, "f32", threads=threads)
