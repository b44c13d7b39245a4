"""Write files in the format of torch.save, without PyTorch: the zip container with its pickle.

Knows dictionaries, numbers, strings and tensors; does not know checkpoints. `torch_file` reads
these files. Tensors are streamed: the pickle with their shapes comes first, then the values.
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

from cpm_lm.checkpoints.containers.pickle_globals import STORAGE_DTYPES
from cpm_lm.checkpoints.dtypes import DTYPES, Array

__all__ = ["NewTensor", "write_torch_file"]

STORAGE_NAMES = {dtype: name for name, dtype in STORAGE_DTYPES.items()}
ALIGNMENT = 64  # of every storage in the file, as in torch.save
ZIP64_MIN_BYTES = 1 << 30
"""Entries of at least this size get 64-bit size fields. The choice must be known before an entry is
opened, because it changes the header's size. zipfile itself makes it near 2 GiB."""


@dataclass(frozen=True)
class NewTensor:
    """A tensor to write: its description, and a function that returns its values."""

    dtype: str
    shape: tuple[int, ...]
    blocks: Callable[[], Iterator[Array]]
    """Returns all values in C order, split at any point."""


def write_torch_file(
    path: Path, root: Mapping[str, Any], on_bytes: Callable[[memoryview], None]
) -> None:
    """Write an object that `torch.load(weights_only=True)` can read.

    Args:
        path: the new file.
        root: a dictionary of strings, integers, None, `NewTensor`s and further dictionaries.
        on_bytes: called with the values of the tensors as they are written.

    Raises:
        OSError: the disk is full or not writable.
    """
    tensors: list[NewTensor] = []
    pickled = b"\x80\x02" + _pickle(root, tensors) + b"."
    with path.open("xb") as file, zipfile.ZipFile(file, "w") as archive:
        folder = path.stem
        for name, data in (("data.pkl", pickled), ("byteorder", b"little"), ("version", b"3\n")):
            with _open_entry(archive, f"{folder}/{name}", len(data)) as entry:
                entry.write(data)
        for key, tensor in enumerate(tensors):
            size = math.prod(tensor.shape) * DTYPES[tensor.dtype].itemsize
            with _open_entry(archive, f"{folder}/data/{key}", size) as entry:
                for block in tensor.blocks():
                    view = block.reshape(-1).view(np.uint8).data
                    entry.write(view)
                    on_bytes(view)


def _open_entry(archive: zipfile.ZipFile, name: str, size: int) -> Any:
    """Open a new entry for writing; a padding field in the header aligns its content."""
    zip64 = size >= ZIP64_MIN_BYTES
    info = zipfile.ZipInfo(name)  # with a fixed date, so that equal models give equal files
    info.file_size = size
    header = archive.start_dir + 30 + len(name.encode()) + (20 if zip64 else 0)
    padding = -(header + 4) % ALIGNMENT
    info.extra = b"FB" + struct.pack("<H", padding) + b"Z" * padding
    return archive.open(info, "w", force_zip64=zip64)


def _pickle(value: Any, tensors: list[NewTensor]) -> bytes:
    r"""Return the pickle opcodes (protocol 2) for a value; append its tensors to `tensors`.

    EMPTY_DICT, MARK, BINUNICODE "a", LONG1 1, SETITEMS:

    >>> _pickle({"a": 1}, [])
    b'}(X\x01\x00\x00\x00a\x8a\x01\x01u'
    """
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
            return b"(" + b"".join(_pickle(item, tensors) for item in value) + b"t"
        case Mapping():
            pairs = (_pickle(k, tensors) + _pickle(v, tensors) for k, v in value.items())
            return b"}(" + b"".join(pairs) + b"u"
        case NewTensor():
            tensors.append(value)
            return _pickle_tensor(value, len(tensors) - 1)
    raise AssertionError(f"this module does not write a {type(value).__name__}")


def _pickle_tensor(tensor: NewTensor, key: int) -> bytes:
    """Return the opcodes that call `_rebuild_tensor_v2`; every tensor has its own storage."""
    # The class of the storage names the element type. The device is always the CPU.
    count = math.prod(tensor.shape)
    strides = tuple(math.prod(tensor.shape[axis + 1 :]) for axis in range(len(tensor.shape)))
    storage = (
        b"(" + _pickle("storage", []) + b"ctorch\n" + STORAGE_NAMES[tensor.dtype].encode() + b"\n"
    )
    storage += b"".join(_pickle(item, []) for item in (str(key), "cpu", count)) + b"tQ"
    window = b"".join(_pickle(item, []) for item in (0, tensor.shape, strides, False))
    hooks = b"ccollections\nOrderedDict\n)R"
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + window + hooks + b"tR"
