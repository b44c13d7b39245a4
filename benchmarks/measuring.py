"""The arithmetic of the benchmarks: operations and bytes of a token, shares, ratios, tables.

Knows numbers of seconds and bytes; does not know implementations, clocks or processes.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cpm_lm.config import GPTConfig

__all__ = [
    "LIMITS",
    "About",
    "Measurement",
    "difference",
    "flops",
    "median_and_quartiles",
    "shares",
    "table",
    "voids",
    "weights_read",
]

PREFILL = 128
"""Tokens of the timed prompt."""
DECODE = "decode"
LIMITS = {32: 5e-5, 16: 0.03, 8: 0.06, 4: 0.4}
"""By bits of a weight: the largest `difference` from the float32 logits that counts as the same
outputs. What was measured, and what a wrong model differs by: docs/performance.en.md."""


@dataclass(frozen=True, kw_only=True)
class About:
    """What an implementation reports of itself."""

    version: str
    build: str
    """What decides its speed: instruction sets, libraries, threads."""
    bytes_per_token: int
    """Weights that one token reads, in bytes as stored."""
    bits: int
    """Of most weights: 32, 16, 8 or 4; implementations of the same bits are compared."""
    tolerance: float | None = None
    """The largest `difference` allowed where a library is less exact than its weights."""

    @property
    def limit(self) -> float:
        """The largest `difference` that counts as the same outputs."""
        return LIMITS[self.bits] if self.tolerance is None else self.tolerance


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """The times of one implementation in one round."""

    implementation: str
    seconds: Mapping[str, float]
    """Seconds of one call by operation: `decode`, `prefill`, `rows 32`."""
    bandwidth: float
    """Bytes per second that the probe read in the same round."""
    peak: float
    """Float32 operations per second in the same round."""


def weights_read(config: GPTConfig) -> int:
    """Return how many weights one token reads: all but the positions' table."""
    return config.parameter_count - config.n_positions * config.n_embd


def flops(config: GPTConfig, tokens: int, logits: int) -> int:
    """Return the operations of the weights' products; attention over a short context is left out.

    Args:
        config: the model's shape.
        tokens: rows that pass through the blocks.
        logits: rows that pass through the output matrix.
    """
    D = config.n_embd
    return 2 * (12 * D * D * config.n_layer * tokens + config.vocab_size * D * logits)


def difference(found: np.ndarray, expected: np.ndarray) -> float:
    """Return the root mean square of the difference, in standard deviations of `expected`."""
    return float(np.sqrt(np.mean(np.square(found - expected))) / np.std(expected))


def median_and_quartiles(
    measurements: Iterable[Measurement], implementation: str, operation: str
) -> tuple[float, float, float]:
    """Return the median seconds and both quartiles; all equal if there is one measurement."""
    taken = [m.seconds[operation] for m in measurements if m.implementation == implementation]
    quartiles = statistics.quantiles(taken, n=4, method="inclusive") if taken[1:] else taken * 3
    low, _, high = quartiles
    return statistics.median(taken), low, high


def shares(
    measurements: Sequence[Measurement], about: Mapping[str, About], config: GPTConfig
) -> dict[str, tuple[float, float | None]]:
    """Return by implementation its median shares of read bandwidth (decode) and peak (prefill)."""
    work = flops(config, PREFILL, 1)
    found: dict[str, tuple[float, float | None]] = {}
    for name in dict.fromkeys(m.implementation for m in measurements):
        own = [m for m in measurements if m.implementation == name]
        size = about[name].bytes_per_token
        read = statistics.median(size / t.seconds[DECODE] / t.bandwidth for t in own)
        prefills = [work / t.seconds["prefill"] / t.peak for t in own if "prefill" in t.seconds]
        found[name] = (read, statistics.median(prefills) if prefills else None)
    return found


def voids(
    found: Mapping[str, tuple[float, float | None]], about: Mapping[str, About]
) -> tuple[str, str]:
    """Return why the shares of bandwidth and those of the peak are invalid, or empty strings.

    They are invalid if any share is above 1: then the probe measured too little. For the peak only
    float32 implementations count, because products in fewer bits have faster instructions (dot
    products of bytes, tiles).
    """
    over = [name for name, (read, _) in found.items() if read > 1]
    fast = [
        name for name, (_, peak) in found.items() if peak and peak > 1 and about[name].bits == 32
    ]
    reading = (
        f"VOID: shares of read bandwidth, because {', '.join(over)} read more than all of it: "
        "the probe was slow, or the weights were in a cache"
    )
    computing = f"VOID: shares of the peak, because {', '.join(fast)} reached more than all of it"
    return reading if over else "", computing if fast else ""


def table(
    measurements: Sequence[Measurement],
    about: Mapping[str, About],
    config: GPTConfig,
    base: str,
    operations: Sequence[str],
    failed: Mapping[str, str],
) -> list[str]:
    """Return the lines of a Markdown table.

    Args:
        measurements: all measurements.
        about: what each implementation is.
        config: the model's shape.
        base: the prefix of the names that others of the same bits are compared with; of several
            such names the fastest counts.
        operations: `rows N` columns after decoding and prefill.
        failed: implementations whose outputs are not the model's, with the reason; no figures.
    """
    head = ["implementation", "bits", "decode tok/s (quartiles)", "of bandwidth", f"x {base}"]
    head += [f"prefill {PREFILL} tok/s", "of float32 peak", f"x {base}"]
    head += [f"{operation}, rows/s" for operation in operations]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    found = shares(measurements, about, config)
    measured = {m.implementation for m in measurements}
    no_read, no_peak = voids(found, about)
    for name in sorted(measured, key=lambda n: (-about[n].bits, list(about).index(n))):
        same = [n for n in measured if n.startswith(base) and about[n].bits == about[name].bits]
        seconds, low, high = median_and_quartiles(measurements, name, DECODE)
        read, peak = found[name]
        cells = [name, str(about[name].bits)]
        cells += [f"{1 / seconds:.1f} ({1 / high:.1f}–{1 / low:.1f})"]
        cells += ["void" if no_read else f"{read:.0%}"]
        cells += [ratio(measurements, name, same, DECODE)]
        cells += [rate(measurements, name, "prefill", PREFILL)]
        cells += ["" if peak is None else "void" if no_peak else f"{peak:.0%}"]
        cells += [ratio(measurements, name, same, "prefill")]
        cells += [rate(measurements, name, op, int(op.split()[1])) for op in operations]
        lines.append("| " + " | ".join(cells) + " |")
    lines += [f"| {name} | FAILED: {why} |" for name, why in failed.items()]
    return lines


def rate(measurements: Sequence[Measurement], name: str, operation: str, count: int) -> str:
    """Return tokens or rows per second as text; empty if it was not measured."""
    if not _has(measurements, name, operation):
        return ""
    return f"{count / median_and_quartiles(measurements, name, operation)[0]:.0f}"


def ratio(
    measurements: Sequence[Measurement], name: str, same: Sequence[str], operation: str
) -> str:
    """Return how many times as fast as the fastest of `same` an implementation is, as text."""
    peers = [n for n in same if _has(measurements, n, operation)]
    if name in same or not peers or not _has(measurements, name, operation):
        return ""
    best = min(median_and_quartiles(measurements, n, operation)[0] for n in peers)
    return f"{best / median_and_quartiles(measurements, name, operation)[0]:.2f}"


def _has(measurements: Sequence[Measurement], name: str, operation: str) -> bool:
    return any(t.implementation == name and operation in t.seconds for t in measurements)
