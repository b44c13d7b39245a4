"""Quantize groups by rounding to nearest, with the scale that has the smallest squared error.

Knows arrays; does not know how codes are packed into bytes: `formats` does.
"""

from __future__ import annotations

import numpy as np

from cpm_lm.checkpoints.quantization.formats import PackedFormat
from cpm_lm.shapes import Float16, Float32, Int8

__all__ = ["quantize"]

CHUNK_VALUES = 1 << 16
"""The number of values in one chunk, so that the intermediate arrays stay in the CPU cache."""

SCALE_FACTORS: dict[int, tuple[float, ...]] = {
    8: (1.0,),
    4: (1.0, *np.linspace(0.7, 1.15, 16).tolist()),
}
"""Factors that are tried for the scale, by bits. Factor 1 maps a group's largest absolute value to
the largest code.

In 4 bits a smaller scale clips the largest values, but often has a smaller total error. The search
reduces the KL of the packaged model by a third. In 8 bits it changes almost nothing.
"""

Groups = Float32[np.ndarray, "rows groups group"]
Codes = Int8[np.ndarray, "rows groups group"]
Scales = Float16[np.ndarray, "rows groups"]


def quantize(numbers: Groups, packing: PackedFormat) -> tuple[Codes, Scales, float]:
    """Choose the best scale of each group and round its values to nearest.

    Args:
        numbers: finite values.
        packing: the quantized format.

    Returns:
        codes: counted from zero.
        scales: one for each group; infinite if a group's values are too large for float16.
        squared_error: the sum of the squared differences.
    """
    codes = np.empty(numbers.shape, np.int8)
    scales = np.empty(numbers.shape[:2], np.float16)
    squared_error = 0.0
    step = max(1, CHUNK_VALUES // max(1, numbers[0].size))
    for start in range(0, len(numbers), step):
        rows = slice(start, start + step)
        scales[rows], errors = fit_scales(numbers[rows], packing)
        codes[rows] = round_codes(numbers[rows], scales[rows], packing)
        squared_error += float(errors.sum(dtype=np.float64))
    return codes, scales, squared_error


def fit_scales(
    numbers: Groups, packing: PackedFormat
) -> tuple[Scales, Float32[np.ndarray, "rows groups"]]:
    """Return the scales with the smallest squared error, and that error for each group."""
    largest = np.abs(numbers).max(axis=-1) * np.float32(1 / packing.max_code)
    with np.errstate(over="ignore", invalid="ignore"):  # the caller reports infinite scales
        scales = largest.astype(np.float16)
        errors = _squared_errors(numbers, scales, packing)
        for factor in SCALE_FACTORS[packing.bits][1:]:
            candidates = (largest * np.float32(factor)).astype(np.float16)
            candidate_errors = _squared_errors(numbers, candidates, packing)
            better = candidate_errors < errors
            scales = np.where(better, candidates, scales)
            errors = np.where(better, candidate_errors, errors)
    return scales, errors


def round_codes(numbers: Groups, scales: Scales, packing: PackedFormat) -> Groups:
    """Return the nearest codes, as float32; they are zero if the scale is zero.

    >>> scales = np.float16([[0.5]])
    >>> round_codes(np.float32([[[0.6, -1.6, 99]]]), scales, PackedFormat(bits=4, group=3)).tolist()
    [[[1.0, -3.0, 7.0]]]
    """
    wide = scales.astype(np.float32)[..., None]
    inverse = np.divide(1, wide, out=np.zeros_like(wide), where=wide > 0)
    codes = numbers * inverse
    np.rint(codes, out=codes)
    np.maximum(codes, np.float32(packing.min_code), out=codes)
    np.minimum(codes, np.float32(packing.max_code), out=codes)
    return codes


def _squared_errors(
    numbers: Groups, scales: Scales, packing: PackedFormat
) -> Float32[np.ndarray, "rows groups"]:
    difference = round_codes(numbers, scales, packing)
    difference *= scales.astype(np.float32)[..., None]
    difference -= numbers
    return np.einsum("rgk,rgk->rg", difference, difference)
