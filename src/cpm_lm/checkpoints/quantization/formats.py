"""The stored format of quantized weights: names, shapes, packing, and dequantization.

Knows the format; does not know how scales and codes are chosen: `round_to_nearest` and `gptq` do.
A matrix is row-major [out, in], the order in which the kernels read it. A value is its code times
the scale of its group.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from cpm_lm.checkpoints.dtypes import DTYPES, WEIGHTS, Array
from cpm_lm.checkpoints.layout import Dims, is_transposed, shapes
from cpm_lm.checkpoints.tensors import BLOCK_BYTES
from cpm_lm.languages import tr
from cpm_lm.shapes import Float16, Float32, Int8, Shaped

__all__ = [
    "FORMATS",
    "GPTQ",
    "SCALES",
    "Dequantized",
    "PackedFormat",
    "PackedMatrix",
    "entries",
    "format_of",
    "out_in_shape",
    "pack_nibbles",
    "rounding_of",
    "scale_problem",
    "stored_bytes",
]

SCALES = ".scales"
"""The suffix of the name of a matrix's scales."""
FLOAT16_INF_BITS = 0x7C00
"""The bits of infinity in float16. As integers, the bits of NaN and of all negative values are
larger."""
NIBBLE_OFFSET = 16
"""4-bit codes: byte i of a group of 32 holds element i in the low nibble and element i + 16 in the
high nibble. One mask and one shift give 16 adjacent elements each."""


@dataclass(frozen=True)
class PackedFormat:
    """The parameters of a quantized format.

    `group` adjacent elements along `in` share one float16 scale. `in` is padded with zeros to a
    multiple of `group`.
    """

    bits: int
    """8: int8 codes from -127 to 127. 4: two codes in a byte, from 0 to 15; 8 stands for zero."""
    group: int
    """The number of elements that share a scale."""

    def padded(self, width: int) -> int:
        """Return `width` rounded up to a multiple of `group`.

        >>> PackedFormat(bits=8, group=64).padded(80)
        128
        """
        return -(-width // self.group) * self.group

    @property
    def dtype(self) -> str:
        """The number format of the stored codes, a key of DTYPES."""
        return "I8" if self.bits == 8 else "U8"

    @property
    def max_code(self) -> int:
        """The largest code, counted from zero: 127 or 7."""
        return (1 << self.bits - 1) - 1

    @property
    def min_code(self) -> int:
        """The smallest code, counted from zero: -127 or -8. -128 is not used in 8 bits."""
        return -self.max_code if self.bits == 8 else -self.max_code - 1

    def entries(self, shape: tuple[int, int]) -> dict[str, tuple[str, tuple[int, ...]]]:
        """Return format and shape of the codes ("") and of the scales of a matrix [out, in].

        >>> PackedFormat(bits=4, group=32).entries((10, 64))
        {'': ('U8', (10, 32)), '.scales': ('F16', (10, 2))}
        """
        out, width = shape[0], self.padded(shape[1])
        return {
            "": (self.dtype, (out, width * self.bits // 8)),
            SCALES: ("F16", (out, width // self.group)),
        }


# 8 bits: groups of 64 have a quarter less KL than groups of 128 for 1.5% more bytes, and need no
# padding at the widths of CPM and of the packaged model. 4 bits: groups of 32 with a scale have the
# same error and size as groups of 64 with a scale and a minimum, which would need a second sum.
Q8, Q4 = PackedFormat(8, 64), PackedFormat(4, 32)
FORMATS = {"q8": Q8, "q4": Q4}
"""Quantized formats of a store by the user's name for them."""

NEAREST, GPTQ = "nearest", "feedback"
ROUNDINGS = {"q8": NEAREST, "q4": GPTQ}
"""How the matrices of the blocks are quantized: each value is rounded to nearest, or with GPTQ,
calibrated on the activations of fixed random ids. The values are those of `manifest.json`."""


def rounding_of(weights: str) -> str | None:
    """Return how the matrices of a number format are quantized; None for floats."""
    return ROUNDINGS.get(weights)


def format_of(weights: str, name: str) -> PackedFormat | None:
    """Return the packed format of a tensor; None if it stays float32.

    Vectors and the position embedding stay float32; a token reads one row of it. The word embedding
    has 8 bits in both formats: it is also the output matrix, and its errors go directly into the
    logits.
    """
    if name == "wte.weight":
        return Q8
    is_matrix = name.rpartition(".")[0].endswith(("c_attn", "c_proj", "c_fc"))
    return FORMATS[weights] if is_matrix and name.endswith(".weight") else None


def out_in_shape(name: str, shape: tuple[int, ...]) -> tuple[int, int]:
    """Return the shape [out, in] of a matrix from its shape in GPT-2's layout.

    >>> out_in_shape("h.0.mlp.c_fc.weight", (64, 256)), out_in_shape("wte.weight", (1000, 64))
    ((256, 64), (1000, 64))
    """
    first, second = shape
    return (second, first) if is_transposed(name) else (first, second)


def entries(dims: Dims, weights: str) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Return format and shape of every tensor in the file, in file order.

    Floats come first: the size of codes may not be a multiple of four, and float32 values must be
    aligned to four bytes.
    """
    floats: dict[str, tuple[str, tuple[int, ...]]] = {}
    packed: dict[str, tuple[str, tuple[int, ...]]] = {}
    for name, shape in shapes(dims).items():
        packing = format_of(weights, name)
        if packing is None:
            floats[name] = ("F32", shape)
        else:
            parts = packing.entries(out_in_shape(name, shape)).items()
            packed |= {name + ending: entry for ending, entry in parts}
    return floats | packed


def stored_bytes(dims: Dims, weights: str) -> int:
    """Return the size of all tensors of a store in bytes, for any number format."""
    if weights in WEIGHTS:
        return dims.with_heads(1).parameter_count * DTYPES[WEIGHTS[weights]].itemsize
    return sum(
        DTYPES[dtype].itemsize * math.prod(shape)
        for dtype, shape in entries(dims, weights).values()
    )


@dataclass(frozen=True)
class PackedMatrix:
    """A quantized matrix [out, in], usually as views of a memory-mapped file."""

    codes: Shaped[np.ndarray, "out bytes"]
    """8 bits: int8[out, padded in]. 4 bits: uint8[out, padded in / 2]."""
    scales: Float16[np.ndarray, "out groups"]
    """Finite, at least 0."""
    packing: PackedFormat
    shape: tuple[int, int]
    """[out, in] without the padding."""

    @property
    def bits(self) -> int:
        """8 or 4."""
        return self.packing.bits

    @property
    def group(self) -> int:
        """The number of elements that share a scale."""
        return self.packing.group

    def dequantize(self, rows: slice, groups: slice) -> Float32[np.ndarray, "rows in"]:
        """Return some rows and groups as float32, without padding. The products are exact."""
        scales = self.scales[rows, groups].astype(np.float32)[:, :, None]
        first = groups.indices(self.scales.shape[1])[0] * self.group
        values = (self._codes(rows, groups) * scales).reshape(len(scales), -1)
        return values[:, : self.shape[1] - first]

    def padding_is_zero(self) -> bool:
        """Return whether the padding after the last column of each row is zero."""
        last = self.scales.shape[1] - 1
        used = self.shape[1] - last * self.group
        if used == self.group:
            return True
        return not self._codes(slice(None), slice(last, None))[:, 0, used:].any()

    def _codes(self, rows: slice, groups: slice) -> Int8[np.ndarray, "rows groups group"]:
        """Return codes counted from zero: -127 to 127, or -8 to 7."""
        stored = self.codes.reshape(len(self.codes), self.scales.shape[1], -1)[rows, groups]
        return stored if self.bits == 8 else unpack_nibbles(stored)


@dataclass(frozen=True)
class Dequantized:
    """A quantized matrix that is dequantized to float32 on reading."""

    packed: PackedMatrix
    transposed: bool
    """Whether it is read as [in, out]; it is stored as [out, in]."""

    @property
    def dtype(self) -> str:
        """F32, which represents a code times a scale exactly."""
        return "F32"

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape as it is read."""
        return self.packed.shape[::-1] if self.transposed else self.packed.shape

    def blocks(self) -> Iterator[Array]:
        """Yield the matrix in C order, in blocks of rows of about BLOCK_BYTES."""
        out, width = self.packed.shape
        full = slice(None)
        if not self.transposed:
            step = max(1, BLOCK_BYTES // (4 * width))
            for start in range(0, out, step):
                rows = slice(start, start + step)
                yield np.ascontiguousarray(self.packed.dequantize(rows, full))
            return
        step = max(1, BLOCK_BYTES // (4 * out * self.packed.group))
        for start in range(0, self.packed.scales.shape[1], step):
            columns = self.packed.dequantize(full, slice(start, start + step))
            yield np.ascontiguousarray(columns.T)

    def read(self) -> Array:
        """Return the full matrix."""
        values = self.packed.dequantize(slice(None), slice(None))
        return np.ascontiguousarray(values.T if self.transposed else values)

    def transpose(self) -> Dequantized:
        """Return the transpose; nothing is read yet."""
        return Dequantized(self.packed, not self.transposed)


def unpack_nibbles(
    stored: Shaped[np.ndarray, "rows groups bytes"],
) -> Int8[np.ndarray, "rows groups group"]:
    """Unpack 4-bit codes, counted from zero.

    A byte 0xF1 at position i: element i is 1 - 8 = -7, element i + 16 is 15 - 8 = 7.

    >>> codes = unpack_nibbles(np.uint8([[[0xF1] + [0x88] * 15]]))
    >>> codes.shape, int(codes[0, 0, 0]), int(codes[0, 0, 16]), int(codes[0, 0, 1])
    ((1, 1, 32), -7, 7, 0)
    """
    codes = np.concatenate((stored & 15, stored >> 4), axis=-1).view(np.int8)
    codes -= 8
    return codes


def pack_nibbles(codes: Int8[np.ndarray, "rows groups group"]) -> Array:
    """Pack codes counted from zero, two in a byte: the inverse of `unpack_nibbles`.

    Elements 0 to 31 with the codes -8, -7, ... 7 twice: byte 0 holds elements 0 and 16, both -8,
    and byte 15 holds elements 15 and 31, both 7.

    >>> pack_nibbles(np.int8([[list(range(-8, 8)) * 2]]))[0, 0, [0, 1, 15]].tolist()
    [0, 17, 255]
    """
    shifted = (codes + np.int8(8)).view(np.uint8)
    return shifted[..., :NIBBLE_OFFSET] | shifted[..., NIBBLE_OFFSET:] << 4


def scale_problem(scales: Array) -> str | None:
    """Return a message if a scale is negative, infinite or NaN; else None.

    As unsigned integers, the bits of valid scales are less than those of infinity. So one maximum
    over the bits checks all scales without a copy.
    """
    worst = scales.view(np.uint16).max()
    if worst < FLOAT16_INF_BITS:
        return None
    return tr("holds {worst}, expected finite numbers of at least 0", worst=worst.view(np.float16))
