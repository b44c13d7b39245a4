"""GPTQ: quantize a matrix column by column, propagating the error.

Knows a matrix and the numbers that it is multiplied by; where those come from `calibration` knows.
Source: GPTQ (Frantar et al., 2022), in the form without an inverse that QuIP proved equal (Chee et
al., 2023): with H = (U + I) D (U + I)', U strictly upper, the numbers of input j are rounded after
what rounding took from inputs i < j was added to them, U[i, j] times.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float16, Float32, Int8

from cpm_lm.checkpoints.quantization.formats import PackedFormat
from cpm_lm.checkpoints.quantization.round_to_nearest import Codes, Scales, fit_scales

__all__ = ["gptq"]

Matrix = Float32[np.ndarray, "in out"]
Inputs = Float32[np.ndarray, "T in"]

DAMPING = 0.1
"""Added to the mean squares of the inputs, in parts of their mean. A few hundred tokens tell
little of inputs that hardly vary in them: with 0.1 the KL on text is less than with 0.01."""
SPAN = 2560
"""Inputs whose errors reach each other: bounds the table of their products, and its time."""


def gptq(inputs: Inputs, matrix: Matrix, packing: PackedFormat) -> tuple[Codes, Scales, float]:
    """Round a matrix so that its products with some inputs change little.

    Args:
        inputs: rows that the matrix is multiplied by; where they are not finite, or all zero,
            each number is rounded to the nearest.
        matrix: finite; gets the rounded numbers, codes times scales.
        packing: the bits.

    Returns:
        codes: int8[out, groups, group], padded with zeros.
        scales: of each group; infinite where its numbers are too large for float16.
        lost: the sum of the squares of what was changed.
    """
    width, out = matrix.shape
    codes = np.zeros((packing.padded(width), out), np.int8)
    scales = np.empty((len(codes) // packing.group, out), np.float16)
    lost = 0.0
    for start in range(0, width, SPAN):
        span, groups = slice(start, start + SPAN), slice(start // packing.group, None)
        shares = _shares(inputs[:, span])
        lost += _round(matrix[span], shares, packing, codes[span], scales[groups])
    turned = np.ascontiguousarray(codes.T).reshape(out, -1, packing.group)
    return turned, np.ascontiguousarray(scales.T), lost


def _shares(inputs: Inputs) -> Float32[np.ndarray, "in in"]:
    """Return U: which part of input i's error is added to input j."""
    wide = inputs.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        together = wide.T @ wide
    mean = np.trace(together) / len(together)
    if not np.isfinite(together).all() or mean == 0:
        return np.zeros(together.shape, np.float32)
    together[np.diag_indices(len(together))] += DAMPING * mean
    # Cholesky's factor is lower; of both axes reversed it is the upper one.
    upper = np.linalg.cholesky(together[::-1, ::-1])[::-1, ::-1]
    shares = (upper / np.diag(upper)).astype(np.float32)
    np.fill_diagonal(shares, 0)
    return shares


def _round(
    matrix: Matrix,
    shares: Float32[np.ndarray, "in in"],
    packing: PackedFormat,
    codes: Int8[np.ndarray, "padded out"],
    scales: Float16[np.ndarray, "groups out"],
) -> float:
    """Fill codes and scales of one span, and put the rounded numbers into `matrix`."""
    lost = np.zeros_like(matrix)
    for at, start in enumerate(range(0, len(matrix), packing.group)):
        group = slice(start, min(start + packing.group, len(matrix)))
        wanted = matrix[group] + shares[:start, group].T @ lost[:start]
        scales[at] = fit_scales(np.ascontiguousarray(wanted.T)[:, None], packing)[0][:, 0]
        wide = scales[at].astype(np.float32)
        fits = np.isfinite(wide)  # the caller names what does not; its neighbours must not pay
        wide[~fits] = 0
        inverse = np.divide(1, wide, out=np.zeros_like(wide), where=wide > 0)
        for j in range(start, group.stop):
            row = wanted[j - start] + shares[start:j, j] @ lost[start:j]
            row = np.clip(np.rint(row * inverse), packing.min_code, packing.max_code)
            codes[j], row = row, row * wide
            lost[j] = np.where(fits, matrix[j] - row, 0)
            matrix[j] = row
    return float(np.einsum("io,io->", lost, lost, dtype=np.float64))
