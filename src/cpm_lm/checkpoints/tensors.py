"""Tensors that are read, merged or dequantized on demand.

Knows arrays and number formats; does not know files, names or models.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np

from cpm_lm.checkpoints.dtypes import DTYPES, FLOATS, Array, count_nonfinite
from cpm_lm.languages import tr

__all__ = [
    "BLOCK_BYTES",
    "FirstRows",
    "LazyTensor",
    "ShardedTensor",
    "Tensor",
    "checked_shape",
    "equal_bits",
    "nonfinite_count",
]

MOST_AXES = 8
LONGEST_AXIS = 1 << 48
MOST_BYTES = 1 << 62
"""Of a tensor, whatever a file says."""
BLOCK_BYTES = 1 << 22
"""The target size of a block: far smaller than a layer, but large enough for fast disk reads."""


@dataclass(frozen=True)
class Tensor:
    """An array as stored, usually a read-only view of a memory-mapped file."""

    array: Array
    dtype: str
    """A key of DTYPES; a BF16 array is uint16 bits."""
    check: Callable[[], None] | None = field(default=None, compare=False)
    """Compares the values with the checksum in the file, and raises CheckpointError if they differ;
    None where the file has none. It is called before the values are used, not on opening."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The array's shape."""
        return self.array.shape


@runtime_checkable
class LazyTensor(Protocol):
    """A tensor whose values are read, merged or dequantized on demand."""

    @property
    def dtype(self) -> str:
        """The format of the arrays from `blocks` and `read`, a key of DTYPES."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the merged tensor."""

    def blocks(self) -> Iterator[Array]:
        """Yield the tensor in C order, in blocks of rows of about BLOCK_BYTES."""

    def read(self) -> Array:
        """Return the full tensor."""

    def transpose(self) -> LazyTensor:
        """Return the transpose of a matrix; nothing is read yet."""


@dataclass(frozen=True)
class ShardedTensor:
    """A tensor as the concatenation of parts; a tensor that is not sharded has one part.

    >>> parts = [Tensor(np.float32(p), "F32") for p in ([[0, 1], [4, 5]], [[2, 3], [6, 7]])]
    >>> ShardedTensor(tuple(parts), axis=1).read().tolist()
    [[0.0, 1.0, 2.0, 3.0], [4.0, 5.0, 6.0, 7.0]]
    """

    parts: tuple[Tensor, ...]
    axis: int = 0
    """The axis along which the parts are concatenated."""

    @property
    def dtype(self) -> str:
        """The format of all parts."""
        return self.parts[0].dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the merged tensor."""
        shape = list(self.parts[0].shape)
        shape[self.axis] = sum(part.shape[self.axis] for part in self.parts)
        return tuple(shape)

    def blocks(self) -> Iterator[Array]:
        """Yield the tensor in C order, in blocks of rows of about BLOCK_BYTES."""
        # Along axis 0 the parts follow one another. Along another axis every row has all parts.
        groups = [self.parts] if self.axis else [(part,) for part in self.parts]
        for group in groups:
            _check(group)
            row = sum(part.array[:1].nbytes for part in group)
            step = max(1, BLOCK_BYTES // max(1, row))
            for start in range(0, group[0].shape[0], step):
                parts = [part.array[start : start + step] for part in group]
                yield np.ascontiguousarray(np.concatenate(parts, axis=self.axis))

    def read(self) -> Array:
        """Return the full tensor: a view if it has one part, else a new array."""
        _check(self.parts)
        if len(self.parts) == 1:
            return self.parts[0].array
        return np.concatenate([part.array for part in self.parts], axis=self.axis)

    def transpose(self) -> ShardedTensor:
        """Return the transpose of a matrix as views; nothing is copied."""
        parts = tuple(Tensor(part.array.T, part.dtype, part.check) for part in self.parts)
        return ShardedTensor(parts, 1 - self.axis)


@dataclass(frozen=True)
class FirstRows:
    """The first rows of a matrix, which are read no sooner than they are asked for."""

    whole: LazyTensor
    rows: int

    @property
    def dtype(self) -> str:
        """The format of the whole."""
        return self.whole.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of what is left."""
        return (self.rows, *self.whole.shape[1:])

    def blocks(self) -> Iterator[Array]:
        """Yield the rows in pieces of about BLOCK_BYTES."""
        left = self.rows
        for block in self.whole.blocks():
            yield block[:left]
            left -= len(block)
            if left <= 0:
                return

    def read(self) -> Array:
        """Return all of them."""
        return self.whole.read()[: self.rows]

    def transpose(self) -> ShardedTensor:
        """Return the transpose."""
        return ShardedTensor((Tensor(self.read().T, self.dtype),))


def checked_shape(shape: Iterable[object], itemsize: int) -> tuple[int, ...]:
    """Return a shape that a file states, after checking that numpy can hold it.

    Raises:
        ValueError: a size is no integer from 0 to 2^48, there are more than 8, or there are too
            many values, also beside an axis of size 0.
    """
    sizes = tuple(shape)
    if len(sizes) > MOST_AXES:
        raise ValueError(
            tr(
                "a tensor has {n_sizes} axes, expected {most_axes} or fewer",
                n_sizes=len(sizes),
                most_axes=MOST_AXES,
            )
        )
    if not all(type(size) is int and 0 <= size <= LONGEST_AXIS for size in sizes):
        raise ValueError(tr("a tensor has the shape {sizes}", sizes=str(sizes)[:80]))
    plain = tuple(size for size in sizes if isinstance(size, int))
    if itemsize * math.prod(size for size in plain if size) > MOST_BYTES:
        raise ValueError(
            tr("a tensor has the shape {plain}, which is too large", plain=str(plain)[:80])
        )
    return plain


def _check(parts: Iterable[Tensor]) -> None:
    for part in parts:
        if part.check is not None:
            part.check()


def equal_bits(a: Tensor, b: Tensor) -> bool:
    """Return whether two tensors are bitwise equal; stop at the first block that differs."""
    if (a.shape, a.dtype) != (b.shape, b.dtype):
        return False
    # Without their checks, which would read all of both where the first block may suffice.
    blocks = (ShardedTensor((Tensor(each.array, each.dtype),)).blocks() for each in (a, b))
    pairs = zip(*blocks, strict=True)
    bits = f"u{DTYPES[a.dtype].itemsize}"
    return all(np.array_equal(x.view(bits), y.view(bits)) for x, y in pairs)


def nonfinite_count(tensor: LazyTensor, on_bytes: Callable[[int], None] = lambda _: None) -> int:
    """Return how many values of a tensor are NaN or infinite; 0 if it does not hold floats.

    Args:
        tensor: a tensor in any format.
        on_bytes: called with the size of each block that was read.
    """
    if tensor.dtype not in FLOATS or not tensor.shape:
        return 0
    count = 0
    for block in tensor.blocks():
        count += count_nonfinite(block, tensor.dtype)
        on_bytes(block.nbytes)
    return count
