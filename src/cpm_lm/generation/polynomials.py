"""Counts of ways to match, as polynomials in the length n of the text.

The ways of k repeats that are not told apart are choices of k places in the text, in order:
C(n + k, k) of them. So that is the basis, rather than the powers of n.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence

__all__ = [
    "ENDLESS",
    "LINEAR",
    "ONE",
    "ZERO",
    "Polynomial",
    "checked",
    "largest",
    "plus",
    "steps",
    "times",
]

Polynomial = tuple[float, ...]
"""Of C(n, 0), C(n + 1, 1), C(n + 2, 2), ...: how many of each."""
ZERO: Polynomial = (0.0,)
ONE: Polynomial = (1.0,)
LINEAR: Polynomial = (0.0, 1.0)
ENDLESS: Polynomial = (math.inf,)
MAX_DEGREE = 6


def steps(polynomial: Polynomial, n: int) -> float:
    """Return the value of a polynomial for a text of n characters."""
    return sum(
        ways * math.comb(n + degree, degree) for degree, ways in enumerate(polynomial) if ways
    )


def plus(a: Polynomial, b: Polynomial) -> Polynomial:
    """Return the sum."""
    length = max(len(a), len(b))
    pairs = zip(_padded(a, length), _padded(b, length), strict=True)
    return tuple(x + y for x, y in pairs)


def times(a: Polynomial, b: Polynomial) -> Polynomial:
    """Return the product, with C(n + i + j, i + j) for C(n + i, i) C(n + j, j).

    That is what it counts: the places of both are chosen in the order of the text.
    """
    if math.inf in a or math.inf in b:
        return ENDLESS
    result = [0.0] * (len(a) + len(b) - 1)
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            result[i + j] += x * y
    return checked(tuple(result))


def largest(polynomials: Sequence[Polynomial]) -> Polynomial:
    """Return a polynomial that is nowhere below any of these."""
    length = max(map(len, polynomials))
    return tuple(map(max, zip(*(_padded(p, length) for p in polynomials), strict=True)))


def checked(polynomial: Polynomial) -> Polynomial:
    """Return a polynomial, or ENDLESS where its degree or a number of ways is out of reach."""
    if len(polynomial) > MAX_DEGREE or max(polynomial) > sys.float_info.max / 1e9:
        return ENDLESS
    return polynomial


def _padded(polynomial: Polynomial, length: int) -> Polynomial:
    return (*polynomial, *[0.0] * (length - len(polynomial)))
