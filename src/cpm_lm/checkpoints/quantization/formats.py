"""Weights in 8 and 4 bits as they lie in a store: names, shapes, bytes, and the way back.

Knows the format; how scales and codes are chosen `round_to_nearest` and `gptq` know. A
matrix is row-major [out, in] here, as the kernels read it; a number is its code times its group's
scale.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float16, Float32, Int8, Shaped

from cpm_lm.checkpoints.dtypes import DTYPES, WEIGHTS, Array
from cpm_lm.checkpoints.layout import Dims, is_transposed, shapes
from cpm_lm.checkpoints.tensors import BLOCK_BYTES

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
"""What follows a matrix's name in the name of its scales."""
INFINITY = 0x7C00
"""The bits of infinity in float16, with those of NaN and of all below zero above them."""
HALF = 16
"""Codes of 4 bits: byte i of a group holds element i below and element i + 16 above, so that one
mask and one shift give 16 neighbours each."""


@dataclass(frozen=True)
class PackedFormat:
    """One way to pack a matrix.

    `group` neighbours along `in` share one float16 scale; `in` is padded with zeros to a multiple.
    """

    bits: int
    """8: int8 codes from -127 to 127. 4: two in a byte, from 0 to 15, with 8 for zero."""
    group: int

    def padded(self, width: int) -> int:
        """Return `width` rounded up to whole groups."""
        return -(-width // self.group) * self.group

    @property
    def dtype(self) -> str:
        """The format of the codes, a key of DTYPES."""
        return "I8" if self.bits == 8 else "U8"

    @property
    def max_code(self) -> int:
        """The largest code, less that of zero."""
        return (1 << self.bits - 1) - 1

    @property
    def min_code(self) -> int:
        """The least code, less that of zero. One more below zero would be -128 in 8 bits."""
        return -self.max_code if self.bits == 8 else -self.max_code - 1

    def entries(self, shape: tuple[int, int]) -> dict[str, tuple[str, tuple[int, ...]]]:
        """Return format and shape of the codes and of the scales of a matrix [out, in]."""
        out, width = shape[0], self.padded(shape[1])
        return {
            "": (self.dtype, (out, width * self.bits // 8)),
            SCALES: ("F16", (out, width // self.group)),
        }


# Groups of 64: a quarter less KL than groups of 128 for 1.5% more bytes, and no padding at CPM's
# widths nor at the packaged model's. Groups of 32 with half the step of a scale in 4 bits: equal
# in error to groups of 64 with a minimum, which are of the same size and need a second sum.
Q8, Q4 = PackedFormat(8, 64), PackedFormat(4, 32)
FORMATS = {"q8": Q8, "q4": Q4}
"""What a user calls the packed formats of a store."""

NEAREST, GPTQ = "nearest", "feedback"
ROUNDINGS = {"q8": NEAREST, "q4": GPTQ}
"""How the matrices of the blocks are rounded: each number to the nearest, or, in 4 bits, so that
their products with the activations of fixed random ids change little."""


def rounding_of(weights: str) -> str | None:
    """Return how a number format's matrices are rounded; None where they are floats."""
    return ROUNDINGS.get(weights)


def format_of(weights: str, name: str) -> PackedFormat | None:
    """Return how a format packs a tensor; None for what stays float32.

    Vectors stay, and so do the positions, of which a token reads a single row. The word embedding
    has 8 bits in either format: it is the output matrix as well, whose errors reach the logits as
    they are.
    """
    if name == "wte.weight":
        return Q8
    is_matrix = name.rpartition(".")[0].endswith(("c_attn", "c_proj", "c_fc"))
    return FORMATS[weights] if is_matrix and name.endswith(".weight") else None


def out_in_shape(name: str, shape: tuple[int, ...]) -> tuple[int, int]:
    """Return [out, in] of a matrix that GPT-2's layout has as `shape`."""
    first, second = shape
    return (second, first) if is_transposed(name) else (first, second)


def entries(dims: Dims, weights: str) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Return format and shape of everything in the file, in its order.

    Floats come first: what follows has odd lengths, and float32 must lie at multiples of four.
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
    """Return the bytes of all numbers of a store, f32 to q4."""
    if weights in WEIGHTS:
        return dims.with_heads(1).parameter_count * DTYPES[WEIGHTS[weights]].itemsize
    return sum(
        DTYPES[dtype].itemsize * math.prod(shape)
        for dtype, shape in entries(dims, weights).values()
    )


@dataclass(frozen=True)
class PackedMatrix:
    """A matrix [out, in] in 8 or 4 bits, usually views of a mapped file."""

    codes: Shaped[np.ndarray, "out bytes"]
    """int8[out, in padded], or uint8[out, in padded / 2]."""
    scales: Float16[np.ndarray, "out groups"]
    """Finite, none below zero."""
    packing: PackedFormat
    shape: tuple[int, int]
    """[out, in] without the padding."""

    @property
    def bits(self) -> int:
        """8 or 4."""
        return self.packing.bits

    @property
    def group(self) -> int:
        """How many numbers share a scale."""
        return self.packing.group

    def dequantize(self, rows: slice, groups: slice) -> Float32[np.ndarray, "rows in"]:
        """Return some rows and groups as float32, without padding; exact."""
        scales = self.scales[rows, groups].astype(np.float32)[:, :, None]
        first = groups.indices(self.scales.shape[1])[0] * self.group
        values = (self._codes(rows, groups) * scales).reshape(len(scales), -1)
        return values[:, : self.shape[1] - first]

    def padding_is_zero(self) -> bool:
        """Say whether what lies behind the last column of each row is zero."""
        last = self.scales.shape[1] - 1
        used = self.shape[1] - last * self.group
        if used == self.group:
            return True
        return not self._codes(slice(None), slice(last, None))[:, 0, used:].any()

    def _codes(self, rows: slice, groups: slice) -> Int8[np.ndarray, "rows groups group"]:
        """Return codes with zero at zero."""
        stored = self.codes.reshape(len(self.codes), self.scales.shape[1], -1)[rows, groups]
        return stored if self.bits == 8 else unpack_nibbles(stored)


@dataclass(frozen=True)
class Dequantized:
    """A packed matrix as float32 that is made when it is read."""

    packed: PackedMatrix
    transposed: bool
    """Whether it is read as [in, out], not as [out, in], the order in which it is stored."""

    @property
    def dtype(self) -> str:
        """float32, which holds a code times a scale exactly."""
        return "F32"

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape in the order in which it is read."""
        return self.packed.shape[::-1] if self.transposed else self.packed.shape

    def blocks(self) -> Iterator[Array]:
        """Yield the whole in C order, in pieces of about BLOCK_BYTES."""
        out, width = self.packed.shape
        everything = slice(None)
        if not self.transposed:
            step = max(1, BLOCK_BYTES // (4 * width))
            for start in range(0, out, step):
                rows = slice(start, start + step)
                yield np.ascontiguousarray(self.packed.dequantize(rows, everything))
            return
        step = max(1, BLOCK_BYTES // (4 * out * self.packed.group))
        for start in range(0, self.packed.scales.shape[1], step):
            columns = self.packed.dequantize(everything, slice(start, start + step))
            yield np.ascontiguousarray(columns.T)

    def read(self) -> Array:
        """Return all of it at once."""
        values = self.packed.dequantize(slice(None), slice(None))
        return np.ascontiguousarray(values.T if self.transposed else values)

    def transpose(self) -> Dequantized:
        """Return its transpose."""
        return Dequantized(self.packed, not self.transposed)


def unpack_nibbles(
    stored: Shaped[np.ndarray, "rows groups bytes"],
) -> Int8[np.ndarray, "rows groups group"]:
    """Return codes of 4 bits with zero at zero."""
    codes = np.concatenate((stored & 15, stored >> 4), axis=-1).view(np.int8)
    codes -= 8
    return codes


def pack_nibbles(codes: Int8[np.ndarray, "rows groups group"]) -> Array:
    """Return the bytes of codes with zero at zero, 4 bits each: the inverse of `unpack_nibbles`."""
    shifted = (codes + np.int8(8)).view(np.uint8)
    return shifted[..., :HALF] | shifted[..., HALF:] << 4


def scale_problem(scales: Array) -> str | None:
    """Return what is wrong with scales, if anything is: below zero, infinite or NaN.

    One pass without a copy: the bits of all that is right are below those of infinity.
    """
    worst = scales.view(np.uint16).max()
    if worst < INFINITY:
        return None
    return f"holds {worst.view(np.float16)}, expected finite numbers of at least 0"
