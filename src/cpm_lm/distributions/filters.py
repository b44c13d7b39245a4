"""Which tokens top-k and top-p leave.

Knows scores and weights; does not know randomness, sessions or text.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float32, Float64, Int64

from cpm_lm.distributions.checks import Number
from cpm_lm.distributions.rules import Rules

__all__ = ["kept_tokens", "nucleus", "top_k"]

SORT_BELOW = 64
"""Scores so few that sorting them is the quickest."""


def kept_tokens(
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
    while len(near) > SORT_BELOW:
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
