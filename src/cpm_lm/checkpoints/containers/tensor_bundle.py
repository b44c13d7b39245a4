"""Read TensorFlow's variables on disk, a "tensor bundle": an index, and files of raw values.

Knows both file formats; does not know models, and needs no TensorFlow. The index is a sorted table
in LevelDB's format whose values are protocol buffers. Sources: TensorFlow's tensor_bundle.proto
and tensor_bundle.cc, LevelDB's doc/table_format.md.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from cpm_lm.checkpoints.containers.crc32c import crc32c, masked
from cpm_lm.checkpoints.containers.opened import map_file, read_limited
from cpm_lm.checkpoints.dtypes import DTYPES
from cpm_lm.checkpoints.tensors import Tensor, checked_shape
from cpm_lm.checkpoints.text import one_line
from cpm_lm.errors import CheckpointError
from cpm_lm.languages import tr
from cpm_lm.messages import unreadable_kind
from cpm_lm.protobuf import fields, varint

__all__ = ["Bundle", "Entry"]

MAGIC = 0xDB4775248B80FB57.to_bytes(8, "little")
FOOTER = 48
TRAILER = 5
"""Bytes after each block: the compression type (1) and a checksum (4)."""
MAX_INDEX = 64 << 20
"""The largest index in bytes; that of CPM-LM has 60 kB."""
MIN_VALUE = 8
"""Bytes of the description of a tensor; real ones have 12 or more."""
MAX_KEY_GROWTH = 16
"""The limit for the size of all decoded keys, as a multiple of the index's size. A key is stored
without the prefix it shares with the previous key, so a small hostile file could decode to
gigabytes."""
STRING = "STRING"
NAMES = {
    1: "F32", 2: "F64", 3: "I32", 4: "U8", 5: "I16", 6: "I8", 7: STRING, 9: "I64", 10: "BOOL",
    14: "BF16", 19: "F16",
}  # fmt: skip
"""Number formats by TensorFlow's DataType numbers (types.proto)."""


@dataclass(frozen=True)
class Entry:
    """The location of a tensor in the bundle."""

    dtype: str
    """A key of DTYPES, STRING, or a description of an unsupported type."""
    shape: tuple[int, ...]
    shard: int
    """The number of the data file."""
    offset: int
    """In bytes."""
    size: int
    """In bytes."""
    checksum: int
    """The masked CRC-32C of the values; of a string, of its length and its bytes."""


class Bundle:
    """An open bundle; tensors are memory-mapped.

    Attributes:
        files: the index and all data files.
        entries: the location of every tensor by its key.
    """

    def __init__(self, index: Path) -> None:
        """Open a bundle by its index file, `NAME.index` beside `NAME.data-00000-of-00001`.

        Raises:
            CheckpointError: a file is missing, truncated or damaged.
        """
        self._index = index
        data = read_limited(index, MAX_INDEX)
        if known := unreadable_kind(data[:512]):
            raise CheckpointError("{index} is {known}", index=index, known=known)
        try:
            table = dict(_read_table(data))
            header = fields(table.pop(b""))
            shards = _as_int(header.get(1, [0])[-1])
            if _as_int(header.get(2, [0])[-1]):
                raise ValueError(tr("its values are big-endian; expected little-endian"))
            self.entries = {key.decode(): _parse_entry(value) for key, value in table.items()}
        except (ValueError, KeyError) as error:
            raise CheckpointError(
                "{index} is damaged or not an index of TensorFlow variables: {error}",
                index=index,
                error=one_line(error),
            ) from None
        used = {entry.shard for entry in self.entries.values()}
        if used and max(used) >= shards:
            raise CheckpointError(
                "{index} names file {used} of {shards}; it is damaged",
                index=index,
                used=max(used),
                shards=shards,
            )
        names = {at: f"{index.stem}.data-{at:05d}-of-{shards:05d}" for at in sorted(used)}
        self._data = {at: map_file(index.with_name(name)) for at, name in names.items()}
        self.files = (index, *(index.with_name(name) for name in names.values()))
        self._check_sizes(names)

    def tensor(self, key: str) -> Tensor:
        """Return a read-only memory-mapped view of a tensor; bf16 as uint16 bits.

        Its checksum is compared when the values are first used, because that reads all of them.
        """
        entry = self.entries[key]
        dtype = DTYPES[entry.dtype]
        array = np.ndarray(entry.shape, dtype, self._data[entry.shard], entry.offset)

        @cache
        def check() -> None:
            if entry.size and masked(crc32c(array.reshape(-1).view(np.uint8))) != entry.checksum:
                raise CheckpointError(self._differs(key))

        return Tensor(array, entry.dtype, check)

    def string(self, key: str) -> bytes:
        """Return a scalar string. It is stored as its length, a checksum of the length, its bytes.

        Raises:
            CheckpointError: the entry is not a scalar string, the length is wrong, or the content
                differs from the checksum.
        """
        entry = self.entries[key]
        data = self._data[entry.shard][entry.offset : entry.offset + entry.size]
        try:
            length, at = varint(data, 0)
        except ValueError:
            length, at = -1, 0
        if entry.dtype != STRING or entry.shape or length != len(data) - at - 4:
            raise CheckpointError(
                "{index} is damaged: {key} is not a scalar string",
                index=self._index,
                key=one_line(key),
            )
        sizes = length.to_bytes(4 if length < 1 << 32 else 8, "little") + data[at : at + 4]
        if (
            masked(crc32c(sizes[:-4])) != int.from_bytes(sizes[-4:], "little")
            or masked(crc32c(sizes + data[at + 4 :])) != entry.checksum
        ):
            raise CheckpointError(self._differs(key))
        return data[at + 4 :]

    def _differs(self, key: str) -> str:
        return tr(
            "{index} is damaged: {key} differs from its checksum (CRC-32C); download it again",
            index=self._index.with_suffix(""),
            key=one_line(key, 80),
        )

    def _check_sizes(self, names: dict[int, str]) -> None:
        for key, entry in self.entries.items():
            size = len(self._data[entry.shard])
            if entry.offset + entry.size > size:
                raise CheckpointError(
                    "{index} is truncated: it has {size:,} bytes, but {key} ends at "
                    "{offset:,}; download it again",
                    index=self._index.with_name(names[entry.shard]),
                    size=size,
                    key=one_line(key),
                    offset=entry.offset + entry.size,
                )


def _read_table(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the keys and values of a sorted table.

    The footer holds the handles of the metaindex block and of the index block. The index block
    holds the handles of the data blocks.
    """
    footer = data[-FOOTER:]
    if len(footer) < FOOTER or footer[-8:] != MAGIC:
        raise ValueError(tr("its footer is missing"))
    # Skip the handle of the metaindex block, which TensorFlow leaves empty.
    _, at = varint(footer, 0)
    _, at = varint(footer, at)
    allowed, end, last = MAX_KEY_GROWTH * len(data), 0, None
    for _, block_handle in _block_entries(_read_block(data, *_read_handle(footer, at)), allowed):
        offset, size = _read_handle(block_handle, 0)
        if offset < end:
            raise ValueError(tr("its blocks overlap"))
        end = offset + size
        for key, value in _block_entries(_read_block(data, offset, size), allowed):
            allowed -= len(key)
            if last is not None and key <= last:
                raise ValueError(tr("its keys are not in order"))
            last = key
            yield key, value


def _read_handle(data: bytes, at: int) -> tuple[int, int]:
    offset, at = varint(data, at)
    size, _ = varint(data, at)
    return offset, size


def _read_block(data: bytes, offset: int, size: int) -> bytes:
    end = offset + size
    if end + TRAILER > len(data):
        raise ValueError(tr("it is truncated"))
    if masked(crc32c(data[offset : end + 1])) != int.from_bytes(data[end + 1 : end + 5], "little"):
        raise ValueError(tr("a block differs from its checksum (CRC-32C); download it again"))
    if data[end]:
        raise ValueError(tr("it is compressed, which TensorFlow never does"))
    return data[offset : offset + size]


def _block_entries(block: bytes, allowed: int) -> Iterator[tuple[bytes, bytes]]:
    r"""Yield a block's keys and values.

    An entry is: shared, unshared and value size as varints, the unshared end of the key, the value.
    The restart offsets and their number follow. The key "ab" is stored after "aa" as 1, 1, "b":

    >>> block = b"\0\2\1aax" + b"\1\1\1by" + bytes(4) + (1).to_bytes(4, "little")
    >>> list(_block_entries(block, allowed=100))
    [(b'aa', b'x'), (b'ab', b'y')]

    Args:
        block: the bytes of the block.
        allowed: the limit for the total size of its keys.
    """
    restarts = int.from_bytes(block[-4:], "little")
    end = len(block) - 4 - 4 * restarts
    if len(block) < 4 or end < 0:
        raise ValueError(tr("a block is damaged"))
    key, at = b"", 0
    while at < end:
        shared, at = varint(block, at)
        unshared, at = varint(block, at)
        size, at = varint(block, at)
        if shared > len(key) or at + unshared + size > end:
            raise ValueError(tr("a block is damaged"))
        key = key[:shared] + block[at : at + unshared]
        allowed -= len(key)
        if allowed < 0:
            raise ValueError(tr("its keys are too long"))
        yield key, block[at + unshared : at + unshared + size]
        at += unshared + size


def _parse_entry(value: bytes) -> Entry:
    """Parse a BundleEntryProto.

    Fields: 1 dtype, 2 shape, 3 shard, 4 offset, 5 size, 6 checksum, 7 slices.
    """
    if len(value) < MIN_VALUE:
        raise ValueError(tr("a tensor is described in {n_value} bytes", n_value=len(value)))
    found = fields(value)
    if 7 in found:
        raise ValueError(tr("a tensor is stored in slices, which is not supported"))
    code, shard, offset, size = (_as_int(found.get(n, [0])[-1]) for n in (1, 3, 4, 5))
    checksum = int.from_bytes(_as_bytes(found.get(6, [bytes(4)])[-1])[:4], "little")
    dims = fields(_as_bytes(found.get(2, [b""])[-1])).get(2, [])[:9]
    sizes = [_as_int(fields(_as_bytes(dim)).get(1, [0])[-1]) for dim in dims]
    dtype = NAMES.get(code, tr("TensorFlow's type {code}", code=code))
    shape = checked_shape(sizes, DTYPES[dtype].itemsize if dtype in DTYPES else 1)
    if dtype in DTYPES and size != DTYPES[dtype].itemsize * math.prod(shape):
        raise ValueError(
            tr("a tensor of {dtype} {shape} has {size} bytes", dtype=dtype, shape=shape, size=size)
        )
    return Entry(dtype, shape, shard, offset, size, checksum)


def _as_int(value: int | bytes) -> int:
    if isinstance(value, bytes):
        raise ValueError(tr("expected a number"))
    if value >> 63:
        raise ValueError(tr("a number is {value}, expected 0 or more", value=value - (1 << 64)))
    return value


def _as_bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise ValueError(tr("expected a message"))
    return value
