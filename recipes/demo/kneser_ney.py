"""An interpolated modified Kneser-Ney model of characters, to compare the small GPT with.

Source: Chen and Goodman, "An Empirical Study of Smoothing Techniques for Language Modeling"
(1998), section 4. Three discounts for each order, estimated from the counts of counts; lower
orders count distinct contexts; the lowest is interpolated with the uniform distribution.

A context or n-gram is a whole number (digits to the base V), so that counting is sorting.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

__all__ = ["KneserNey"]


@dataclass(frozen=True)
class _Order:
    """One order: the discounted counts of its n-grams, and the sums of its contexts."""

    grams: Int64[np.ndarray, " G"]
    discounted: Float64[np.ndarray, " G"]
    contexts: Int64[np.ndarray, " C"]
    totals: Float64[np.ndarray, " C"]
    back_off: Float64[np.ndarray, " C"]


def _codes(ids: Int64[np.ndarray, " n"], order: int, base: int) -> Int64[np.ndarray, " m"]:
    """Return every n-gram of a text as a whole number, the oldest character first."""
    codes = np.zeros(len(ids) - order + 1, np.int64)
    for i in range(order):
        codes = codes * base + ids[i : i + len(codes)]
    return codes


def _discounts(counts: Int64[np.ndarray, " G"]) -> Float64[np.ndarray, 4]:
    """Return the discounts of counts 0, 1, 2 and 3 or more.

    In a small sample the estimate may be 0 or less; it is clipped, so that unseen n-grams keep some
    probability.
    """
    n1, n2, n3, n4 = (max(int((counts == k).sum()), 1) for k in (1, 2, 3, 4))
    y = n1 / (n1 + 2 * n2)
    estimated = [1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3]
    return np.array([0, *np.clip(estimated, 0.1, [1, 2, 3])])


def _fit(grams: Int64[np.ndarray, " G"], counts: Int64[np.ndarray, " G"], base: int) -> _Order:
    """Discount the counts of one order; the n-grams are sorted and distinct."""
    discounts = _discounts(counts)
    taken = discounts[np.minimum(counts, 3)]
    contexts, starts = np.unique(grams // base, return_index=True)
    totals = np.add.reduceat(counts, starts).astype(np.float64)
    back_off = np.add.reduceat(taken, starts)
    return _Order(grams, counts - taken, contexts, totals, back_off / totals)


class KneserNey:
    """A character model of a fixed order.

    Args:
        ids: the training text, int64[n], each id below `base`.
        base: V, the number of different characters; V to the power of the order must fit int64.
        order: n, the number of characters of an n-gram.
    """

    def __init__(self, ids: Int64[np.ndarray, " n"], base: int, order: int = 5) -> None:
        assert base**order < 2**63
        self.base, self.order = base, order
        grams, counts = np.unique(_codes(ids, order, base), return_counts=True)
        fitted = [_fit(grams, counts, base)]
        for lower in range(order - 1, 0, -1):
            # The count of a shorter n-gram is the number of characters seen before it.
            grams, counts = np.unique(grams % base**lower, return_counts=True)
            fitted.append(_fit(grams, counts, base))
        self._orders = fitted[::-1]

    def probabilities(self, ids: Int64[np.ndarray, " n"]) -> Float64[np.ndarray, " m"]:
        """Return the probability of each character of a text from the order-th on."""
        n = len(ids) - self.order + 1
        result = np.full(n, 1 / self.base)
        for i, order in enumerate(self._orders, 1):
            codes = _codes(ids, i, self.base)[-n:]
            share = _look_up(order.grams, order.discounted, codes, 0.0)
            context = codes // self.base
            total = _look_up(order.contexts, order.totals, context, np.inf)
            back_off = _look_up(order.contexts, order.back_off, context, 1.0)
            result = share / total + back_off * result
        return result


def _look_up(
    keys: Int64[np.ndarray, " K"],
    values: Float64[np.ndarray, " K"],
    wanted: Int64[np.ndarray, " m"],
    missing: float,
) -> Float64[np.ndarray, " m"]:
    """Return the values of sorted keys, or `missing` where there is no such key."""
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[at] == wanted, values[at], missing)
