"""GPTQ: quantize a matrix column by column, propagating the error.

Knows a matrix and its inputs; does not know where the inputs come from: `calibration` does.
Source: GPTQ (Frantar et al., 2022), in the equivalent form of QuIP (Chee et al., 2023), which needs
no inverse. H = X' X is the Hessian of the inputs X [T, in]. Decompose H = (U + I) D (U + I)' with U
strictly upper triangular. Round the weights w[j] of input j after adding the errors of the earlier
inputs: rounded[j] = round(w[j] + sum over i < j of U[i, j] (w[i] - rounded[i])). If two inputs are
always equal, U[0, 1] is 1: the error of w[0] is added in full to w[1].
"""

from __future__ import annotations

import numpy as np

from cpm_lm.checkpoints.quantization.formats import PackedFormat
from cpm_lm.checkpoints.quantization.round_to_nearest import Codes, Scales, fit_scales
from cpm_lm.shapes import Float16, Float32, Int8

__all__ = ["gptq"]

Matrix = Float32[np.ndarray, "in out"]
Inputs = Float32[np.ndarray, "T in"]

DAMPING = 0.1
"""Added to the diagonal of H, as a share of its mean. A few hundred tokens are a poor estimate for
inputs that vary little: with 0.1 the KL on text is smaller than with 0.01."""
BLOCK_INPUTS = 2560
"""The number of inputs in one block. Errors are not propagated between blocks. This bounds the
size of H and the time of its decomposition."""


def gptq(inputs: Inputs, matrix: Matrix, packing: PackedFormat) -> tuple[Codes, Scales, float]:
    """Quantize a matrix so that its products with the inputs change little.

    Args:
        inputs: the calibration inputs X. If they are not finite, or all zero, each value is rounded
            to nearest.
        matrix: finite; it is overwritten with the dequantized values, codes times scales.
        packing: the quantized format.

    Returns:
        codes: int8[out, groups, group], padded with zeros.
        scales: float16[out, groups]; infinite if a group's values are too large for float16.
        squared_error: the sum of the squared differences to the original matrix.
    """
    width, out = matrix.shape
    codes = np.zeros((packing.padded(width), out), np.int8)
    scales = np.empty((len(codes) // packing.group, out), np.float16)
    squared_error = 0.0
    for start in range(0, width, BLOCK_INPUTS):
        block, groups = slice(start, start + BLOCK_INPUTS), slice(start // packing.group, None)
        feedback = _feedback_matrix(inputs[:, block])
        squared_error += _quantize_block(
            matrix[block], feedback, packing, codes[block], scales[groups]
        )
    by_output = np.ascontiguousarray(codes.T).reshape(out, -1, packing.group)
    return by_output, np.ascontiguousarray(scales.T), squared_error


def _feedback_matrix(inputs: Inputs) -> Float32[np.ndarray, "in in"]:
    """Return U [in, in]; U[i, j] is the share of the error of input i that is added to input j.

    Two inputs that are always equal give 1 / (1 + DAMPING):

    >>> _feedback_matrix(np.ones((8, 2), np.float32)).astype(float).round(2).tolist()
    [[0.0, 0.91], [0.0, 0.0]]
    """
    x = inputs.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        hessian = x.T @ x
    mean = np.trace(hessian) / len(hessian)
    if not np.isfinite(hessian).all() or mean == 0:
        return np.zeros(hessian.shape, np.float32)
    hessian[np.diag_indices(len(hessian))] += DAMPING * mean
    # numpy gives the lower Cholesky factor. Reverse both axes to get the upper one.
    upper = np.linalg.cholesky(hessian[::-1, ::-1])[::-1, ::-1]
    feedback = (upper / np.diag(upper)).astype(np.float32)
    np.fill_diagonal(feedback, 0)
    return feedback


def _quantize_block(
    matrix: Matrix,
    feedback: Float32[np.ndarray, "in in"],
    packing: PackedFormat,
    codes: Int8[np.ndarray, "padded out"],
    scales: Float16[np.ndarray, "groups out"],
) -> float:
    """Quantize one block of inputs: fill `codes` and `scales`, and overwrite `matrix`.

    Returns:
        The sum of the squared errors.
    """
    errors = np.zeros_like(matrix)
    for at, start in enumerate(range(0, len(matrix), packing.group)):
        group = slice(start, min(start + packing.group, len(matrix)))
        adjusted = matrix[group] + feedback[:start, group].T @ errors[:start]
        scales[at] = fit_scales(np.ascontiguousarray(adjusted.T)[:, None], packing)[0][:, 0]
        scale = scales[at].astype(np.float32)
        # The caller reports groups whose scale overflows. Their error must not be propagated.
        fits = np.isfinite(scale)
        scale[~fits] = 0
        inverse = np.divide(1, scale, out=np.zeros_like(scale), where=scale > 0)
        for j in range(start, group.stop):
            row = adjusted[j - start] + feedback[start:j, j] @ errors[start:j]
            row = np.clip(np.rint(row * inverse), packing.min_code, packing.max_code)
            codes[j], row = row, row * scale
            errors[j] = np.where(fits, matrix[j] - row, 0)
            matrix[j] = row
    return float(np.einsum("io,io->", errors, errors, dtype=np.float64))
