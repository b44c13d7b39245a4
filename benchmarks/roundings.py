"""Rounding methods that were compared with the one in the package.

Each maps float32[out, in] to rounded float32[out, in]. Knows arrays only.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

__all__ = ["TRIED"]

Matrix = np.ndarray
FACTORS = np.linspace(0.7, 1.15, 16)
"""Factors of a group's scale to search."""
FINE = np.linspace(0.95, 1.05, 12)
CUTS = np.linspace(0, 0.15, 6)
"""Shares of a group's range to clip at each end, to search."""


def by_groups(size: int, rounded: Callable[[Matrix], Matrix]) -> Callable[[Matrix], Matrix]:
    """Return a function that rounds a matrix by groups along `in`."""

    def whole(matrix: Matrix) -> Matrix:
        out, width = matrix.shape
        padded = np.pad(matrix, ((0, 0), (0, -width % size))).reshape(out, -1, size)
        return rounded(padded).reshape(out, -1)[:, :width]

    return whole


def half(numbers: Matrix) -> Matrix:
    """Round to float16, the format of scales."""
    return numbers.astype(np.float16).astype(np.float32)


def over(numbers: Matrix, scale: Matrix) -> Matrix:
    """Divide; zero where the scale is zero."""
    return np.divide(numbers, scale, out=np.zeros_like(numbers), where=scale != 0)


def best(numbers: Matrix, candidates: list[Matrix]) -> Matrix:
    """Return, group by group, the candidate with the least squared error."""
    errors = np.stack([np.square(c - numbers).sum(-1) for c in candidates])
    return np.take_along_axis(np.stack(candidates), errors.argmin(0)[None, ..., None], 0)[0]


def symmetric(numbers: Matrix, bits: int, share: float = 1.0) -> Matrix:
    largest = 2 ** (bits - 1) - 1
    scale = half(np.abs(numbers).max(-1, keepdims=True) / largest * share)
    return np.clip(np.rint(over(numbers, scale)), -largest - (bits == 4), largest) * scale


def signed(numbers: Matrix, share: float = 1.0) -> Matrix:
    """Give the number of largest magnitude the code -8, so that all sixteen codes are used."""
    at = np.abs(numbers).argmax(-1)[..., None]
    scale = half(np.take_along_axis(numbers, at, -1) / -8 * share)
    return np.clip(np.rint(over(numbers, scale)), -8, 7) * scale


def with_minimum(numbers: Matrix, low: float = 0.0, high: float = 0.0) -> Matrix:
    least, most = numbers.min(-1, keepdims=True), numbers.max(-1, keepdims=True)
    start = half(least + (most - least) * low)
    scale = half((most - (most - least) * high - start) / 15)
    return np.clip(np.rint(over(numbers - start, scale)), 0, 15) * scale + start


def half_quadratic(numbers: Matrix, p: float = 0.7, beta: float = 10.0) -> Matrix:
    """HQQ (Badri and Shaji, 2023): the zero point of least error in a robust norm."""
    least, most = numbers.min(-1, keepdims=True), numbers.max(-1, keepdims=True)
    scale = half((most - least) / 15)
    zero = over(-least, scale)
    for _ in range(20):
        codes = np.clip(np.rint(over(numbers, scale) + zero), 0, 15)
        apart = numbers - scale * (codes - zero)
        size = np.abs(apart)
        shrunk = np.maximum(size - np.maximum(size, 1e-8) ** (p - 1) / beta, 0) * np.sign(apart)
        zero = (codes - over(numbers - shrunk, scale)).mean(-1, keepdims=True)
        beta *= 1.01
    codes = np.clip(np.rint(over(numbers, scale) + zero), 0, 15)
    return scale * (codes - half(zero))


TRIED: dict[str, tuple[float, bool, Callable[[Matrix], Matrix]]] = {
    "8 bits, groups of 128": (8.125, True, by_groups(128, lambda x: symmetric(x, 8))),
    "8 bits, scales searched": (
        8.25, True, by_groups(64, lambda x: best(x, [symmetric(x, 8, s) for s in FINE]))
    ),
    "4 bits, no clipping": (4.5, False, by_groups(32, lambda x: symmetric(x, 4))),
    "4 bits, scales searched": (
        4.5, False, by_groups(32, lambda x: best(x, [symmetric(x, 4, s) for s in (1, *FACTORS)]))
    ),
    "4 bits, signed scales": (4.5, False, by_groups(32, signed)),
    "4 bits, signed scales searched": (
        4.5, False, by_groups(32, lambda x: best(x, [signed(x, s) for s in (*FACTORS, *-FACTORS)]))
    ),
    "4 bits, minimum, groups of 64": (4.5, False, by_groups(64, with_minimum)),
    "4 bits, minimum searched, groups of 64": (
        4.5,
        False,
        by_groups(64, lambda x: best(x, [with_minimum(x, a, b) for a in CUTS for b in CUTS])),
    ),
    "4 bits, HQQ, groups of 64": (4.5, False, by_groups(64, half_quadratic)),
}  # fmt: skip
"""By name: bits a weight of the blocks; whether the word embedding is rounded in the same way (else
as in q8); the rounding function."""
