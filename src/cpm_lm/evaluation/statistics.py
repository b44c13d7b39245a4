"""What a result says about a model: means, their standard errors, and paired tests.

Knows numbers; does not know tasks or models.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Sequence

import numpy as np

__all__ = ["exact_match", "f1", "mcnemar", "paired_bootstrap", "standard_error"]

RESAMPLES = 10_000


def standard_error(values: Sequence[float]) -> float | None:
    """Return the standard error of the mean of independent values; None for fewer than two."""
    return float(np.std(values, ddof=1) / math.sqrt(len(values))) if len(values) > 1 else None


def mcnemar(only_first: int, only_second: int) -> float:
    """Return the exact two-sided p-value of McNemar's test.

    Args:
        only_first: items that only the first model has right.
        only_second: items that only the second has right.

    >>> round(mcnemar(8, 2), 4), mcnemar(0, 0)
    (0.1094, 1.0)
    """
    n, fewer = only_first + only_second, min(only_first, only_second)
    below = sum(math.comb(n, k) for k in range(fewer + 1))
    return min(1.0, 2 * below / 2**n)


def paired_bootstrap(
    first: Sequence[float], second: Sequence[float], seed: int
) -> tuple[float, float]:
    """Return the central 95% of the resampled mean difference, second less first.

    Args:
        first: the first model's value of each item.
        second: the second's, of the same items.
        seed: of the resampling.
    """
    difference = np.asarray(second, np.float64) - np.asarray(first, np.float64)
    rng, n = np.random.Generator(np.random.Philox(seed)), len(difference)
    means = [difference[rng.integers(n, size=n)].mean() for _ in range(RESAMPLES)]
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def exact_match(found: str, answers: Sequence[str]) -> float:
    """Return 1 if a text equals an answer, punctuation and spaces apart, else 0.

    >>> exact_match("《红楼梦》。", ["红楼梦"])
    1.0
    """
    return float(any(_units(found) == _units(answer) for answer in answers))


def f1(found: str, answers: Sequence[str]) -> float:
    """Return the best F1 of a text and an answer, as the evaluation of CMRC 2018 computes it.

    By units: Chinese characters one by one, a run of Latin letters and digits as one. What both
    have in common is their longest common run of units.

    >>> f1("北京城", ["北京"])
    0.8
    """
    return max(_f1(_units(found), _units(answer)) for answer in answers)


def _f1(found: list[str], answer: list[str]) -> float:
    common = _longest_common_run(found, answer)
    return 2 * common / (len(found) + len(answer)) if common else 0.0


def _longest_common_run(one: list[str], other: list[str]) -> int:
    longest, ending = 0, [0] * (len(other) + 1)
    for unit in one:
        ending = [0, *(ending[j] + 1 if unit == each else 0 for j, each in enumerate(other))]
        longest = max(longest, *ending)
    return longest


def _characters(text: str) -> str:
    """Return a text in lower case and NFKC, its punctuation and symbols replaced by spaces."""
    text = unicodedata.normalize("NFKC", text).lower()
    return "".join(" " if unicodedata.category(c)[0] in "PZSC" else c for c in text)


def _units(text: str) -> list[str]:
    """Return the units of a text that are compared.

    >>> _units("2020年，CPM 26亿")
    ['2020', '年', 'cpm', '26', '亿']
    """
    return re.findall(r"[a-z0-9]+|\S", _characters(text))
