"""The arithmetic of the benchmark: what a token costs, shares, ratios, tables, verdicts.

Knows numbers of seconds and bytes; does not know contenders, clocks or processes.
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
    "Turn",
    "difference",
    "flops",
    "middle",
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
    """What a contender says of itself."""

    version: str
    build: str
    """Instruction sets, libraries, threads: whatever decides its speed."""
    bytes_per_token: int
    """Weights that one token reads, in bytes as stored."""
    bits: int
    """Of most weights: 32, 16, 8 or 4; contenders of the same bits are compared."""
    tolerance: float | None = None
    """The largest `difference` allowed where a library is less exact than its weights."""

    @property
    def limit(self) -> float:
        """The largest `difference` that counts as the same outputs."""
        return LIMITS[self.bits] if self.tolerance is None else self.tolerance


@dataclass(frozen=True, kw_only=True)
class Turn:
    """One turn of one contender."""

    contender: str
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


def middle(turns: Iterable[Turn], contender: str, operation: str) -> tuple[float, float, float]:
    """Return the median seconds and both quartiles; all equal where there is one turn."""
    taken = [t.seconds[operation] for t in turns if t.contender == contender]
    quartiles = statistics.quantiles(taken, n=4, method="inclusive") if taken[1:] else taken * 3
    low, _, high = quartiles
    return statistics.median(taken), low, high


def shares(
    turns: Sequence[Turn], about: Mapping[str, About], config: GPTConfig
) -> dict[str, tuple[float, float | None]]:
    """Return by contender its median shares of read bandwidth (decode) and peak (prefill)."""
    work = flops(config, PREFILL, 1)
    found: dict[str, tuple[float, float | None]] = {}
    for name in dict.fromkeys(turn.contender for turn in turns):
        own = [turn for turn in turns if turn.contender == name]
        size = about[name].bytes_per_token
        read = statistics.median(size / t.seconds[DECODE] / t.bandwidth for t in own)
        prefills = [work / t.seconds["prefill"] / t.peak for t in own if "prefill" in t.seconds]
        found[name] = (read, statistics.median(prefills) if prefills else None)
    return found


def voids(
    found: Mapping[str, tuple[float, float | None]], about: Mapping[str, About]
) -> tuple[str, str]:
    """Return why shares of bandwidth, and of the peak, mean nothing; empty where they do.

    They mean nothing where someone has more than all there is.

    A product of narrower numbers may pass the float32 peak by instructions of its own (dot
    products of bytes, tiles), so there only float32 contenders are witnesses against the probe.
    """
    over = [name for name, (read, _) in found.items() if read > 1]
    fast = [
        name for name, (_, peak) in found.items() if peak and peak > 1 and about[name].bits == 32
    ]
    reading = (
        f"VOID: shares of read bandwidth, because {', '.join(over)} read more than all of it: "
        "the probe was slow, or the weights lay in a cache"
    )
    computing = f"VOID: shares of the peak, because {', '.join(fast)} reached more than all of it"
    return reading if over else "", computing if fast else ""


def table(
    turns: Sequence[Turn],
    about: Mapping[str, About],
    config: GPTConfig,
    base: str,
    operations: Sequence[str],
    failed: Mapping[str, str],
) -> list[str]:
    """Return the lines of a Markdown table.

    Args:
        turns: all turns.
        about: what each contender is.
        config: the model's shape.
        base: how the peer's names begin that others of the same bits are compared with; of
            several such names the faster counts.
        operations: `rows N` columns after decoding and prefill.
        failed: contenders whose outputs are not the model's, with the reason; no figures.
    """
    head = ["contender", "bits", "decode tok/s (quartiles)", "of bandwidth", f"x {base}"]
    head += [f"prefill {PREFILL} tok/s", "of float32 peak", f"x {base}"]
    head += [f"{operation}, rows/s" for operation in operations]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    found = shares(turns, about, config)
    measured = {turn.contender for turn in turns}
    no_read, no_peak = voids(found, about)
    for name in sorted(measured, key=lambda n: (-about[n].bits, list(about).index(n))):
        same = [n for n in measured if n.startswith(base) and about[n].bits == about[name].bits]
        seconds, low, high = middle(turns, name, DECODE)
        read, peak = found[name]
        cells = [name, str(about[name].bits)]
        cells += [f"{1 / seconds:.1f} ({1 / high:.1f}–{1 / low:.1f})"]
        cells += ["void" if no_read else f"{read:.0%}"]
        cells += [ratio(turns, name, same, DECODE)]
        cells += [rate(turns, name, "prefill", PREFILL)]
        cells += ["" if peak is None else "void" if no_peak else f"{peak:.0%}"]
        cells += [ratio(turns, name, same, "prefill")]
        cells += [rate(turns, name, op, int(op.split()[1])) for op in operations]
        lines.append("| " + " | ".join(cells) + " |")
    lines += [f"| {name} | FAILED: {why} |" for name, why in failed.items()]
    return lines


def rate(turns: Sequence[Turn], name: str, operation: str, count: int) -> str:
    """Return tokens or rows per second as text; nothing where it was not measured."""
    if not _has(turns, name, operation):
        return ""
    return f"{count / middle(turns, name, operation)[0]:.0f}"


def ratio(turns: Sequence[Turn], name: str, same: Sequence[str], operation: str) -> str:
    """Return how many times as fast as the fastest of `same` a contender is, as text."""
    rivals = [n for n in same if _has(turns, n, operation)]
    if name in same or not rivals or not _has(turns, name, operation):
        return ""
    best = min(middle(turns, n, operation)[0] for n in rivals)
    return f"{best / middle(turns, name, operation)[0]:.2f}"


def _has(turns: Sequence[Turn], name: str, operation: str) -> bool:
    return any(t.contender == name and operation in t.seconds for t in turns)
