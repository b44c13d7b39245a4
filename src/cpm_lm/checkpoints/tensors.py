"""Tensors that stay in their files until they are read.

Knows arrays and their formats; does not know files, names or models.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from cpm_lm.checkpoints.dtypes import DTYPES, FLOATS, Array, count_nonfinite

__all__ = ["BLOCK_BYTES", "LazyTensor", "ShardedTensor", "Tensor", "equal_bits", "nonfinite_count"]

BLOCK_BYTES = 1 << 22
"""About the size of a block that is read at a time: far below a layer, large for a disk."""


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


@runtime_checkable
class LazyTensor(Protocol):
    """A whole tensor whose numbers are read, joined or dequantized when they are asked for."""

    @property
    def dtype(self) -> str:
        """The format that `blocks` and `read` give, a key of DTYPES."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the whole."""

    def blocks(self) -> Iterator[Array]:
        """Yield the whole in C order, first row to last, in pieces of about BLOCK_BYTES."""

    def read(self) -> Array:
        """Return all of it."""

    def transpose(self) -> LazyTensor:
        """Return the transpose of a matrix, which is read no sooner."""


@dataclass(frozen=True)
class ShardedTensor:
    """A whole tensor as parts that lie in files; one part where it lies in one piece."""

    parts: tuple[Tensor, ...]
    axis: int = 0
    """The axis along which the parts are joined."""

    @property
    def dtype(self) -> str:
        """The format of all parts."""
        return self.parts[0].dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the whole."""
        shape = list(self.parts[0].shape)
        shape[self.axis] = sum(part.shape[self.axis] for part in self.parts)
        return tuple(shape)

    def blocks(self) -> Iterator[Array]:
        """Yield the whole in C order, first row to last, in pieces of about BLOCK_BYTES."""
        runs = [self.parts] if self.axis else [(part,) for part in self.parts]
        for run in runs:
            row = sum(part.array[:1].nbytes for part in run)
            step = max(1, BLOCK_BYTES // max(1, row))
            for start in range(0, run[0].shape[0], step):
                pieces = [part.array[start : start + step] for part in run]
                yield np.ascontiguousarray(np.concatenate(pieces, axis=self.axis))

    def read(self) -> Array:
        """Return all of it: a view if it lies in one piece, else joined in memory."""
        if len(self.parts) == 1:
            return self.parts[0].array
        return np.concatenate([part.array for part in self.parts], axis=self.axis)

    def transpose(self) -> ShardedTensor:
        """Return the transpose of a matrix, which still lies in its files."""
        parts = tuple(Tensor(part.array.T, part.dtype) for part in self.parts)
        return ShardedTensor(parts, 1 - self.axis)


def equal_bits(a: Tensor, b: Tensor) -> bool:
    """Say whether two tensors hold the same bits; reading stops at the first difference."""
    if (a.shape, a.dtype) != (b.shape, b.dtype):
        return False
    pairs = zip(ShardedTensor((a,)).blocks(), ShardedTensor((b,)).blocks(), strict=True)
    bits = f"u{DTYPES[a.dtype].itemsize}"
    return all(np.array_equal(x.view(bits), y.view(bits)) for x, y in pairs)


def nonfinite_count(tensor: LazyTensor, on_bytes: Callable[[int], None] = lambda _: None) -> int:
    """Return how many numbers of a tensor are NaN or infinite; 0 where it is not of floats.

    Args:
        tensor: any.
        on_bytes: called with the size of each block that was read.
    """
    if tensor.dtype not in FLOATS or not tensor.shape:
        return 0
    count = 0
    for block in tensor.blocks():
        count += count_nonfinite(block, tensor.dtype)
        on_bytes(block.nbytes)
    return count
