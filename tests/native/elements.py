"""Random matrices in every element type, with their exact values in float64."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

from cpm_lm import _native as native

Element = Literal["f32", "f16", "bf16"]
ELEMENTS = get_args(Element)


def stored(values: np.ndarray, element: Element) -> tuple[np.ndarray, np.ndarray]:
    """Return `values` as they are stored, and the exact values of what is stored."""
    if element == "f32":
        kept = values.astype(np.float32)
        return kept, kept.astype(np.float64)
    if element == "f16":
        kept = values.astype(np.float16)
        return kept, kept.astype(np.float64)
    bits = (values.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
    return bits, (bits.astype(np.uint32) << 16).view(np.float32).astype(np.float64)


def matrix(
    rng: np.random.Generator, inputs: int, outputs: int, element: Element, transposed: bool
) -> tuple[native.Matrix, np.ndarray, np.ndarray]:
    """Return a random matrix with a bias, its exact values as [K, O], and the bias."""
    shape = (outputs, inputs) if transposed else (inputs, outputs)
    kept, exact = stored(rng.standard_normal(shape), element)
    bias = rng.standard_normal(outputs).astype(np.float32)
    made = native.Matrix(kept, element, transposed=transposed, bias=bias)
    return made, exact.T if transposed else exact, bias


def misaligned(values: np.ndarray) -> np.ndarray:
    """Return a copy that begins one element after a multiple of 64 bytes."""
    size = values.dtype.itemsize
    room = np.zeros(values.nbytes + 128, np.uint8)
    start = -room.ctypes.data % 64 + size
    copy = room[start : start + values.nbytes].view(values.dtype).reshape(values.shape)
    copy[...] = values
    return copy
