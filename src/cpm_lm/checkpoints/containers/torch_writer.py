"""Files as torch.save writes them, written without PyTorch: the zip container, and its pickle.

Knows dictionaries, numbers, words and tensors; does not know checkpoints. What `torch_file` reads.
Tensors are streamed: the pickle tells their shapes first, the numbers follow.
"""

from __future__ import annotations

import math
import struct
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cpm_lm.checkpoints.containers.unpickler import STORAGE_DTYPES
from cpm_lm.checkpoints.dtypes import DTYPES, Array

__all__ = ["NewTensor", "write_torch_file"]

STORAGES = {dtype: name for name, dtype in STORAGE_DTYPES.items()}
ALIGNMENT = 64  # of every storage in the file, as torch.save has it
LONG = 1 << 30
"""Entries from here on say their sizes in 64 bits; zipfile itself decides so only at twice it."""


@dataclass(frozen=True)
class NewTensor:
    """A tensor to be written: its description now, its numbers when it is their turn."""

    dtype: str
    shape: tuple[int, ...]
    blocks: Callable[[], Iterator[Array]]
    """Gives all numbers in C order, cut anywhere."""


def write_torch_file(
    path: Path, root: Mapping[str, Any], on_bytes: Callable[[memoryview], None]
) -> None:
    """Write an object that `torch.load(weights_only=True)` returns as it was.

    Args:
        path: the new file.
        root: words, whole numbers, None, dictionaries of them, and `NewTensor`s.
        on_bytes: called with the numbers of the tensors as they are written.

    Raises:
        OSError: the disk is full or not writable.
    """
    tensors: list[NewTensor] = []
    record = b"\x80\x02" + _pickled(root, tensors) + b"."
    with path.open("xb") as file, zipfile.ZipFile(file, "w") as archive:
        folder = path.stem
        for name, data in (("data.pkl", record), ("byteorder", b"little"), ("version", b"3\n")):
            with _entry(archive, f"{folder}/{name}", len(data)) as entry:
                entry.write(data)
        for key, tensor in enumerate(tensors):
            size = math.prod(tensor.shape) * DTYPES[tensor.dtype].itemsize
            with _entry(archive, f"{folder}/data/{key}", size) as entry:
                for block in tensor.blocks():
                    numbers = block.reshape(-1).view(np.uint8).data
                    entry.write(numbers)
                    on_bytes(numbers)


def _entry(archive: zipfile.ZipFile, name: str, size: int) -> Any:
    """Open a new entry for writing, its first byte aligned by a header field without meaning."""
    long = size >= LONG
    info = zipfile.ZipInfo(name)  # its date is fixed, so that equal models are equal files
    info.file_size = size
    header = archive.start_dir + 30 + len(name.encode()) + (20 if long else 0)
    padding = -(header + 4) % ALIGNMENT
    info.extra = b"FB" + struct.pack("<H", padding) + b"Z" * padding
    return archive.open(info, "w", force_zip64=long)


def _pickled(value: Any, tensors: list[NewTensor]) -> bytes:
    """Return the opcodes (protocol 2) that build a value; list its tensors as they come."""
    match value:
        case None:
            return b"N"
        case bool():
            return b"\x88" if value else b"\x89"
        case int():
            data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
            return b"\x8a" + bytes([len(data)]) + data
        case str():
            data = value.encode()
            return b"X" + struct.pack("<I", len(data)) + data
        case tuple():
            return b"(" + b"".join(_pickled(item, tensors) for item in value) + b"t"
        case Mapping():
            pairs = (_pickled(k, tensors) + _pickled(v, tensors) for k, v in value.items())
            return b"}(" + b"".join(pairs) + b"u"
        case NewTensor():
            tensors.append(value)
            return _rebuilt(value, len(tensors) - 1)
    raise AssertionError(f"a {type(value).__name__} is not written by this module")


def _rebuilt(tensor: NewTensor, key: int) -> bytes:
    """Return the opcodes that call `_rebuild_tensor_v2` on a storage of its own."""
    # The element type is named by its storage's class, the device is always the CPU.
    count = math.prod(tensor.shape)
    strides = tuple(math.prod(tensor.shape[axis + 1 :]) for axis in range(len(tensor.shape)))
    storage = b"(" + _pickled("storage", []) + b"ctorch\n" + STORAGES[tensor.dtype].encode() + b"\n"
    storage += b"".join(_pickled(item, []) for item in (str(key), "cpu", count)) + b"tQ"
    window = b"".join(_pickled(item, []) for item in (0, tensor.shape, strides, False))
    hooks = b"ccollections\nOrderedDict\n)R"
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + window + hooks + b"tR"
