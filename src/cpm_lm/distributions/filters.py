"""The filters top-k, top-p, min-p and typical-p: which tokens they keep.

Knows logits and weights; does not know randomness, sessions or text.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from cpm_lm.distributions.checks import Number
from cpm_lm.distributions.rules import Rules
from cpm_lm.shapes import Bool, Float, Float64, Int64

__all__ = ["kept_tokens", "nucleus", "top_k", "typical"]

SORT_BELOW = 64
"""Sorting this many scores is faster than dividing them further."""


def kept_tokens(
    logits: Float[np.ndarray, " V"], weights: Float64[np.ndarray, " V"], rules: Rules
) -> Int64[np.ndarray, " K"] | slice:
    """Return the ids that the filters keep: top-k, top-p, min-p, typical-p, one after the other.

    Each is applied to what the one before it keeps; the order is that of transformers.
    """
    kept: Int64[np.ndarray, " K"] | slice = slice(None)
    if 0 < rules.top_k < len(logits):
        kept = top_k(logits, rules.top_k)
    if rules.top_p < 1:
        kept = _within(kept, nucleus(weights[kept], rules.top_p))
    if rules.min_p > 0:
        left = weights[kept]
        kept = _within(kept, np.flatnonzero(left >= rules.min_p * left.max()))
    if rules.typical_p < 1:
        kept = _within(kept, np.flatnonzero(typical(weights[kept], rules.typical_p)))
    return kept


def _within(kept: Int64[np.ndarray, " K"] | slice, inner: Any) -> Int64[np.ndarray, " I"]:
    """Return the ids that have these places among the ids kept."""
    return inner if isinstance(kept, slice) else kept[inner]


def typical(weights: Float64[np.ndarray, " K"], p: Number) -> Bool[np.ndarray, " K"]:
    """Return which tokens locally typical sampling keeps.

    The surprise of a token is -log of its probability, its mean is the entropy. Tokens come in the
    order of how far their surprise is from the entropy, until their share of the weight reaches p.
    Tokens as far as the last one are kept, too.
    Source: "Locally Typical Sampling", arXiv 2202.00666; equal to transformers' warper.
    """
    shares = weights / weights.sum()
    with np.errstate(divide="ignore"):
        surprise = -np.log(shares)
    entropy = (shares[shares > 0] * surprise[shares > 0]).sum()
    distance = np.abs(surprise - entropy)
    nearest = np.argsort(distance, kind="stable")
    last = min(int((np.cumsum(shares[nearest]) < p).sum()), len(shares) - 1)
    kept: Bool[np.ndarray, " K"] = distance <= distance[nearest[last]]
    return kept


def top_k(scores: Float[np.ndarray, " V"], k: int) -> Int64[np.ndarray, " K"]:
    """Return the ids of the k highest scores, ascending; ties by the lower id."""
    return _highest(scores, k, counted=True)


def nucleus(weights: Float64[np.ndarray, " V"], p: Number) -> Int64[np.ndarray, " K"]:
    """Return the ids of the nucleus: the smallest set whose share of the weight reaches p.

    Ascending. The token that crosses p is included; ties by the lower id.
    Source: "The Curious Case of Neural Text Degeneration", arXiv 1904.09751, section 3.1.
    """
    return _highest(weights, p * float(weights.sum()), counted=False)


def _highest(scores: Any, target: Number, *, counted: bool) -> Int64[np.ndarray, " K"]:
    """Return the indices of the highest scores whose number, or sum, reaches `target`.

    Quickselect, with the mean as pivot: only the scores near the last one kept are sorted. A full
    sort of 30,000 scores takes ten times as long.

    Args:
        scores: nonnegative if they are summed.
        target: the number of scores, or their sum.
        counted: whether the scores are counted rather than summed.
    """
    # `candidates` contain the lowest score to keep; `before` is what the higher scores sum to.
    candidates, before = scores, 0.0
    while len(candidates) > SORT_BELOW:
        is_high = candidates > candidates.mean()
        high = candidates.compress(is_high)  # three times as fast as candidates[is_high]
        if len(high) in (0, len(candidates)):
            break  # all are equal, up to the rounding of their mean
        gain = len(high) if counted else float(high.sum())
        if before + gain >= target:
            candidates = high
        else:
            candidates, before = candidates.compress(~is_high), before + gain
    descending = np.sort(candidates)[::-1]
    reached = before + (np.arange(1, len(candidates) + 1) if counted else np.cumsum(descending))
    last = min(int(np.searchsorted(reached, target)), len(candidates) - 1)
    lowest = descending[last]
    kept = np.flatnonzero(scores >= lowest)
    ties = int((candidates == lowest).sum())
    if excess := ties - (last + 1 - int((descending > lowest).sum())):
        equal = kept[scores[kept] == lowest]
        kept = np.setdiff1d(kept, equal[-excess:], assume_unique=True)
    return kept
