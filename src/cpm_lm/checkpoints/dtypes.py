"""Number formats of files, and the conversions between them.

Knows formats and rounding; does not know files or what a tensor is for. numpy has no bfloat16, so
arrays of that format are carried as their bits in uint16.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float32, Shaped

from cpm_lm.errors import ConfigError

__all__ = [
    "DTYPES",
    "FLOATS",
    "WEIGHTS",
    "Array",
    "Single",
    "count_nonfinite",
    "from_float32",
    "nonfinite_problem",
    "to_float32",
    "weights_dtype",
]

Array = Shaped[np.ndarray, "..."]
Single = Float32[np.ndarray, "..."]

DTYPES: dict[str, np.dtype[Any]] = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype("<u2"),
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
    "I16": np.dtype("<i2"),
    "I8": np.dtype("i1"),
    "U8": np.dtype("u1"),
    "BOOL": np.dtype("u1"),
}
"""Formats by the names that safetensors gives them."""

EXPONENT_BITS: dict[str, np.unsignedinteger[Any]] = {
    "F32": np.uint32(0x7F800000),
    "F16": np.uint16(0x7C00),
    "BF16": np.uint16(0x7F80),
}

FLOATS = tuple(EXPONENT_BITS)
"""The formats a model's weights may have."""

BF16_NAN = np.uint16(0x7FC0)

WEIGHTS = {"f32": "F32", "f16": "F16", "bf16": "BF16"}
"""What a user calls the float formats of a store."""


def weights_dtype(weights: str) -> str:
    """Return the format that a user calls `weights`.

    Raises:
        ConfigError: the name is unknown.
    """
    if weights not in WEIGHTS:
        raise ConfigError(f"weights is {weights!r}; expected one of {', '.join(WEIGHTS)}")
    return WEIGHTS[weights]


def to_float32(array: Array, dtype: str) -> Single:
    """Return float32 of the same values; an array that is float32 already is returned as it is."""
    if dtype == "BF16":
        return (array.astype(np.uint32) << 16).view(np.float32)
    return array.astype(np.float32, copy=False)


def from_float32(values: Single, dtype: str) -> Array:
    """Return float32 values in another format, rounded to nearest even; overflow gives infinity."""
    if dtype == "F32":
        return values
    if dtype == "F16":
        with np.errstate(over="ignore"):
            return values.astype(np.float16)
    bits = np.ascontiguousarray(values).view(np.uint32)
    tie_to_even = (bits >> 16) & 1
    rounded = ((bits + 0x7FFF + tie_to_even) >> 16).astype(np.uint16)
    # The low bits of a NaN could carry into the sign.
    return np.where(np.isnan(values), BF16_NAN, rounded)


def count_nonfinite(array: Array, dtype: str) -> int:
    """Return how many numbers of a float format are NaN or infinite: all exponent bits are set."""
    exponent = EXPONENT_BITS[dtype]
    bits = array.view(exponent.dtype)
    return int(np.count_nonzero((bits & exponent) == exponent))


def nonfinite_problem(name: str, count: int) -> str:
    """Return the line that says that a tensor holds numbers that are not finite."""
    return f"{name} holds {count} numbers that are not finite (NaN or infinite)"
