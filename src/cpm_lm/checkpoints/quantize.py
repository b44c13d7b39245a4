"""Which codes and which scale a group of numbers gets.

Knows numbers; how they are laid out in bytes `packing` knows.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float16, Float32, Int8

from cpm_lm.checkpoints.packing import Packing

__all__ = ["quantize"]

AT_ONCE = 1 << 16
"""Numbers rounded at a time, so that the steps find them in the processor's cache."""

Groups = Float32[np.ndarray, "rows groups group"]
Codes = Int8[np.ndarray, "rows groups group"]


def quantize(
    numbers: Groups, packing: Packing
) -> tuple[Codes, Float16[np.ndarray, "rows groups"], float]:
    """Round rows of whole groups.

    Args:
        numbers: finite.
        packing: the bits.

    Returns:
        codes: with zero at zero.
        scales: of each group; infinite where a group's numbers are too large for float16.
        lost: the sum of the squares of the differences.
    """
    codes = np.empty(numbers.shape, np.int8)
    scales = np.empty(numbers.shape[:2], np.float16)
    lost = 0.0
    step = max(1, AT_ONCE // max(1, numbers[0].size))
    for start in range(0, len(numbers), step):
        rows = slice(start, start + step)
        codes[rows], scales[rows], apart = nearest(numbers[rows], packing)
        lost += float(apart.sum(dtype=np.float64))
    return codes, scales, lost


def nearest(
    numbers: Groups, packing: Packing
) -> tuple[Codes, Float16[np.ndarray, "rows groups"], Float32[np.ndarray, "rows groups"]]:
    """Round to the nearest multiples of a scale that gives a group's largest the largest code.

    Args:
        numbers: finite.
        packing: the bits.

    Returns:
        codes: with zero at zero.
        scales: as they are stored.
        apart: the squares of the differences, summed for each group.
    """
    peak = np.abs(numbers).max(axis=-1)
    with np.errstate(over="ignore"):  # the caller names what is too large
        scales = (peak * np.float32(1 / packing.largest)).astype(np.float16)
    wide = scales.astype(np.float32)[..., None]
    codes = np.zeros_like(numbers)
    np.divide(numbers, wide, out=codes, where=wide > 0)
    np.clip(np.rint(codes, out=codes), packing.least, packing.largest, out=codes)
    with np.errstate(invalid="ignore"):
        apart = np.square(codes * wide - numbers).sum(axis=-1)
    return codes.astype(np.int8), scales, apart
