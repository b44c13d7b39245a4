"""Number formats of weight files, and the conversions between them.

Knows formats and rounding; does not know files or models. numpy has no bfloat16: an array in that
format is a uint16 array of its bits.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from cpm_lm.errors import ConfigError
from cpm_lm.languages import tr
from cpm_lm.shapes import Float32, Shaped

__all__ = [
    "DTYPES",
    "FLOATS",
    "WEIGHTS",
    "Array",
    "Single",
    "count_nonfinite",
    "from_float32",
    "nonfinite_problem",
    "reformatted",
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
    "U16": np.dtype("<u2"),
    "U32": np.dtype("<u4"),
    "U64": np.dtype("<u8"),
    "C64": np.dtype("<c8"),
    "C128": np.dtype("<c16"),
    "F8_E4M3": np.dtype("u1"),
    "F8_E5M2": np.dtype("u1"),
    "F8_E8M0": np.dtype("u1"),
}
"""numpy dtypes by the format names of safetensors; bits where numpy has no such dtype."""

EXPONENT_BITS: dict[str, np.unsignedinteger[Any]] = {
    "F64": np.uint64(0x7FF0000000000000),
    "F32": np.uint32(0x7F800000),
    "F16": np.uint16(0x7C00),
    "BF16": np.uint16(0x7F80),
}

FLOATS = tuple(EXPONENT_BITS)
"""The formats that weights may have."""

BF16_NAN = np.uint16(0x7FC0)

WEIGHTS = {"f32": "F32", "f16": "F16", "bf16": "BF16"}
"""Float formats of a store: the user's name, and the safetensors name."""


def weights_dtype(weights: str) -> str:
    """Return the format name for a user's `weights`.

    Raises:
        ConfigError: the name is unknown.
    """
    if weights not in WEIGHTS:
        raise ConfigError(
            "weights is {weights!r}; expected one of {allowed}",
            weights=weights,
            allowed=", ".join(WEIGHTS),
        )
    return WEIGHTS[weights]


def to_float32(array: Array, dtype: str) -> Single:
    """Convert to float32; an array that is float32 already is returned without a copy.

    A bfloat16 is the upper half of a float32. 0x3FC0 is 1.5:

    >>> to_float32(np.uint16([0x3FC0]), "BF16").tolist()
    [1.5]
    """
    if dtype == "BF16":
        return (array.astype(np.uint32) << 16).view(np.float32)
    with np.errstate(over="ignore"):
        return array.astype(np.float32, copy=False)


def reformatted(array: Array, dtype: str, wanted: str) -> Array:
    """Return the numbers of an array in another float format, rounded once, to nearest even."""
    if dtype == wanted:
        return array
    if dtype != "F64" or wanted == "F32":
        return from_float32(to_float32(array, dtype), wanted)
    if wanted == "F16":
        with np.errstate(over="ignore"):
            return array.astype(np.float16)
    return from_float32(_rounded_to_odd(array), wanted)


def _rounded_to_odd(array: Array) -> Single:
    """Return float32 of float64 whose last bit is set wherever something was lost.

    So a second rounding, to fewer bits, gives what one rounding of the float64 would have given.
    """
    with np.errstate(over="ignore"):
        near = array.astype(np.float32)
    bits = near.view(np.uint32).copy()
    even = (near.astype(np.float64) != array) & (bits & 1 == 0) & ~np.isnan(array)
    beyond = np.abs(near.astype(np.float64)) > np.abs(array)
    bits[even & beyond] -= 1
    bits[even & ~beyond] += 1
    return bits.view(np.float32)


def from_float32(values: Single, dtype: str) -> Array:
    """Convert from float32, rounding to nearest even; overflow gives infinity.

    0x3F80 is 1.0 in bfloat16. The next one is 1 + 2^-7, so 1 + 2^-8 is a tie and rounds to 1.0:

    >>> hex(from_float32(np.float32([1 + 2**-8]), "BF16")[0])
    '0x3f80'
    """
    if dtype == "F32":
        return values
    if dtype == "F16":
        with np.errstate(over="ignore"):
            return values.astype(np.float16)
    bits = np.ascontiguousarray(values).view(np.uint32)
    tie_to_even = (bits >> 16) & 1
    rounded = ((bits + 0x7FFF + tie_to_even) >> 16).astype(np.uint16)
    # Adding 0x7FFF to a NaN with all bits set would overflow into the sign bit.
    return np.where(np.isnan(values), BF16_NAN, rounded)


def count_nonfinite(array: Array, dtype: str) -> int:
    """Return how many values are NaN or infinite, that is, have all exponent bits set."""
    exponent = EXPONENT_BITS[dtype]
    bits = array.view(exponent.dtype)
    return int(np.count_nonzero((bits & exponent) == exponent))


def nonfinite_problem(name: str, count: int) -> str:
    """Return the message for a tensor with values that are not finite."""
    return tr(
        "{name} holds {count} numbers that are not finite (NaN or infinite)", name=name, count=count
    )
