"""From logits to the distribution that a token is drawn from: temperature, top-k, top-p.

Pure functions of numbers, in float64; knows neither randomness, nor sessions, nor text.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float32, Float64, Int64

from cpm_lm.distributions.checks import Number, check_number, check_one_of
from cpm_lm.errors import EngineError

__all__ = ["Distribution", "Rules", "distributions", "log_partition", "probabilities"]

BLOCK = 1 << 17
"""Numbers handled at once: a megabyte of float64, which stays in a core's cache."""
SORTED = 64
"""Scores so few that sorting them is the quickest."""


@dataclass(frozen=True, kw_only=True)
class Rules:
    """How logits become a distribution.

    Raises:
        RequestError: a value is out of its range.
    """

    temperature: Number = field(
        default=0.9,
        metadata={
            "help": "温度：小于 1 偏向可能的词，大于 1 更均匀，0 总取最可能的词。"
            "What logits are divided by: below 1 favours the likely, above 1 evens out, "
            "0 always takes the likeliest token."
        },
    )
    top_p: Number = field(
        default=0.9,
        metadata={
            "help": "核采样：只在概率合计达到它的最小一组词里抽，至多 1，1 为不用。"
            "Draw only from the smallest set of tokens whose probability together reaches "
            "this, above 0 to 1; 1 is off. It cuts the long tail of unlikely tokens."
        },
    )
    top_k: int = field(
        default=0,
        metadata={
            "help": "只在最可能的这么多个词里抽，0 为不用。"
            "Draw only from this many likeliest tokens; 0 is off."
        },
    )
    order: str = field(
        default="standard",
        metadata={
            "help": "standard：先除温度再筛选；cpm：先筛选再除温度，如原程序。"
            "'standard' applies the temperature before top-k and top-p, "
            "'cpm' after them, as the original program did."
        },
    )

    def __post_init__(self) -> None:
        check_number("temperature", self.temperature, low=0)
        check_number("top_p", self.top_p, low=0, high=1, above_low=True)
        check_number("top_k", self.top_k, low=0, whole=True)
        check_one_of("order", self.order, ("standard", "cpm"))


@dataclass(frozen=True, eq=False)
class Distribution:
    """The tokens that may come next, by ascending id, and their probabilities."""

    tokens: Int64[np.ndarray, " K"]
    masses: Float64[np.ndarray, " K"]

    def invert(
        self, u: Float64[np.ndarray, " U"]
    ) -> tuple[Int64[np.ndarray, " U"], Float64[np.ndarray, " U"], Float64[np.ndarray, " U"]]:
        """Return for each u in [0, 1) the token where the cumulative mass passes it.

        Returns:
            tokens, int64[U], and the ends of each token's own interval of u, float64[U] twice.
        """
        edges = np.concatenate(([0.0], np.cumsum(self.masses)))
        edges /= edges[-1]  # exactly 1 at the end, so that every u < 1 finds a token
        at = np.searchsorted(edges, u, side="right") - 1
        return self.tokens[at], edges[at], edges[at + 1]


def log_partition(logits: Float32[np.ndarray, "R V"]) -> Float64[np.ndarray, " R"]:
    """Return log(sum(exp(logits))) of each row in float64.

    A logit minus this is the log-probability under the model itself: temperature 1, no filter.

    Raises:
        EngineError: a row holds NaN or infinity, so that nothing can be drawn from it.
    """
    result = np.empty(len(logits))
    for rows in _blocks(logits):
        top = logits[rows].max(axis=1).astype(np.float64)
        shifted = logits[rows] - top[:, None]
        result[rows] = top + np.log(np.exp(shifted, out=shifted).sum(axis=1))
    if not np.isfinite(result).all():
        raise EngineError(
            "the engine returned logits that are not finite numbers; the weights are damaged "
            "or overflow in this precision: try float32, or `cpm verify` the model"
        )
    return result


def distributions(logits: Float32[np.ndarray, "R V"], rules: Rules) -> list[Distribution]:
    """Return for each row the distribution that the next token is drawn from."""
    if rules.temperature == 0:
        best = logits.argmax(axis=1)  # the first of equals: the lowest id
        return [Distribution(best[i : i + 1], np.ones(1)) for i in range(len(best))]
    result = []
    for rows in _blocks(logits):
        x = logits[rows].astype(np.float64)
        x -= x.max(axis=1, keepdims=True)
        if rules.order == "standard":
            _heat(x, rules.temperature)
        weights = np.exp(x)
        for i in range(len(x)):
            kept = _kept(logits[rows][i], weights[i], rules)
            masses = weights[i, kept]
            if rules.order == "cpm":
                masses = np.exp(_heat(x[i, kept], rules.temperature))
            tokens = np.arange(len(masses)) if isinstance(kept, slice) else kept
            result.append(Distribution(tokens, masses / masses.sum()))
    return result


def probabilities(logits: Float32[np.ndarray, "R V"], rules: Rules) -> Float64[np.ndarray, "R V"]:
    """Return the same distributions as whole rows, 0 for tokens that cannot be drawn."""
    dense = np.zeros(logits.shape)
    for row, distribution in zip(dense, distributions(logits, rules), strict=True):
        row[distribution.tokens] = distribution.masses
    return dense


def top_k(scores: Float32[np.ndarray, " V"], k: int) -> Int64[np.ndarray, " K"]:
    """Return the k tokens of highest score, ascending; of equal scores the lower ids."""
    return _highest(scores, k, counted=True)


def nucleus(weights: Float64[np.ndarray, " V"], p: Number) -> Int64[np.ndarray, " K"]:
    """Return the smallest set of tokens whose share of the weight reaches p, ascending.

    The token that crosses p is included; of equal weights the lower ids come first.
    Source: "The Curious Case of Neural Text Degeneration", arXiv 1904.09751, section 3.1.
    """
    return _highest(weights, p * float(weights.sum()), counted=False)


def _highest(scores: Any, wanted: Number, *, counted: bool) -> Int64[np.ndarray, " K"]:
    """Return the places of the highest scores whose number, or sum, reaches `wanted`.

    A sort of 30,000 scores takes ten times as long: only those near the last one are sorted.
    The others are set apart by halves, as in quickselect.
    """
    near, before = scores, 0.0  # those that may be the last one; what those above them sum to
    while len(near) > SORTED:
        above = near > near.mean()
        high = near.compress(above)  # three times as quick as near[above]
        if len(high) in (0, len(near)):
            break  # all are equal, but for the rounding of their mean
        gain = len(high) if counted else float(high.sum())
        if before + gain >= wanted:
            near = high
        else:
            near, before = near.compress(~above), before + gain
    falling = np.sort(near)[::-1]
    reached = before + (np.arange(1, len(near) + 1) if counted else np.cumsum(falling))
    last = min(int(np.searchsorted(reached, wanted)), len(near) - 1)
    edge = falling[last]
    kept = np.flatnonzero(scores >= edge)
    if excess := int((near == edge).sum()) - (last + 1 - int((falling > edge).sum())):
        equal = kept[scores[kept] == edge]
        kept = np.setdiff1d(kept, equal[-excess:], assume_unique=True)
    return kept


def _kept(
    logits: Float32[np.ndarray, " V"], weights: Float64[np.ndarray, " V"], rules: Rules
) -> Int64[np.ndarray, " K"] | slice:
    """Return the places that the filters leave; top-p looks at what top-k left."""
    kept: Int64[np.ndarray, " K"] | slice = slice(None)
    if 0 < rules.top_k < len(logits):
        kept = top_k(logits, rules.top_k)
    if rules.top_p < 1:
        inner = nucleus(weights[kept], rules.top_p)
        kept = inner if isinstance(kept, slice) else kept[inner]
    return kept


def _heat(x: Float64[np.ndarray, "*N"], temperature: Number) -> Float64[np.ndarray, "*N"]:
    """Divide x <= 0 in place; what overflows is -inf, a probability of 0."""
    with np.errstate(over="ignore"):
        x /= temperature
    return x


def _blocks(logits: Float32[np.ndarray, "R V"]) -> list[slice]:
    step = max(1, BLOCK // logits.shape[1])
    return [slice(start, start + step) for start in range(0, len(logits), step)]
