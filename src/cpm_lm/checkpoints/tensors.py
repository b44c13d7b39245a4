"""Arrays as files hold them, with the name of their number format.

Knows formats and rounding; does not know files or what a tensor is for. numpy has no bfloat16, so
those tensors are carried as their bits in uint16.
"""

from __future__ import annotations

from dataclasses import dataclass
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
    "Tensor",
    "narrow",
    "weights_dtype",
    "widen",
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

FLOATS = ("F32", "F16", "BF16")
"""The formats a model's weights may have."""

EXPONENTS: dict[str, np.unsignedinteger[Any]] = {
    "F32": np.uint32(0x7F800000),
    "F16": np.uint16(0x7C00),
    "BF16": np.uint16(0x7F80),
}
"""Their exponent bits."""

NAN = np.uint16(0x7FC0)
"""Not a number, in bfloat16."""

WEIGHTS = {"f32": "F32", "f16": "F16", "bf16": "BF16"}
"""What a user calls the formats of a store."""


@dataclass(frozen=True)
class Tensor:
    """An array as stored, usually a read-only view of a mapped file."""

    array: Array
    dtype: str
    """A key of DTYPES; BF16 arrays are uint16 bits."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The array's shape."""
        return self.array.shape


def weights_dtype(weights: str) -> str:
    """Return the format that a user calls `weights`.

    Raises:
        ConfigError: the name is unknown.
    """
    if weights not in WEIGHTS:
        raise ConfigError(f"weights is {weights!r}; expected one of {', '.join(WEIGHTS)}")
    return WEIGHTS[weights]


def widen(array: Array, dtype: str) -> Single:
    """Return float32 of the same values; an array that is float32 already is returned as it is."""
    if dtype == "BF16":
        return (array.astype(np.uint32) << 16).view(np.float32)
    return array.astype(np.float32, copy=False)


def count_infinite(array: Array, dtype: str) -> int:
    """Return how many numbers of a float format are NaN or infinite: all exponent bits are set."""
    exponent = EXPONENTS[dtype]
    bits = array.view(exponent.dtype)
    return int(np.count_nonzero((bits & exponent) == exponent))


def narrow(wide: Single, dtype: str) -> Array:
    """Return `wide` in another format, rounded to nearest even; what is too large is infinite."""
    if dtype == "F32":
        return wide
    if dtype == "F16":
        with np.errstate(over="ignore"):
            return wide.astype(np.float16)
    bits = np.ascontiguousarray(wide).view(np.uint32)
    tie_to_even = (bits >> 16) & 1
    rounded = ((bits + 0x7FFF + tie_to_even) >> 16).astype(np.uint16)
    return np.where(np.isnan(wide), NAN, rounded)  # a NaN's low bits could carry into the sign
