"""Files that torch.save wrote, read without PyTorch: both containers, tensors as mapped views.

Knows the zip container (PyTorch 1.6 and newer) and the older one; does not know checkpoints.
"""

from __future__ import annotations

import mmap
import struct
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from cpm_lm.checkpoints.containers.unpickler import Storage, StridedTensor, unpickle
from cpm_lm.checkpoints.dtypes import DTYPES
from cpm_lm.checkpoints.tensors import Tensor
from cpm_lm.checkpoints.text import one_line
from cpm_lm.errors import CheckpointError

__all__ = ["read_torch_file"]

# torch/serialization.py: MAGIC_NUMBER and PROTOCOL_VERSION of the older container.
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_PROTOCOL = 1001
AGAIN = "download it again"


def read_torch_file(path: Path) -> Any:
    """Return what torch.load would return, with every tensor a `StridedTensor` in place.

    Its `.tensor` is a read-only view of the mapped file: nothing is copied.

    Raises:
        CheckpointError: the file is truncated, damaged, unsafe or of another kind.
    """
    mapped = _map(path)
    if mapped[:4] == b"PK\x03\x04":
        root, tensors, starts = _read_zip(path, mapped)
    elif mapped[:1] == b"\x80":
        root, tensors, starts = _read_legacy(path, mapped)
    else:
        raise CheckpointError(f"{path} is {_kind(mapped)}, not a file of PyTorch; {AGAIN}")
    for tensor in tensors:
        tensor.tensor = _view(path, mapped, tensor, starts[tensor.storage.key])
    return root


def _map(path: Path) -> mmap.mmap:
    try:
        with path.open("rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except ValueError:
        raise CheckpointError(f"{path} is empty; {AGAIN}") from None
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from None


def _kind(mapped: mmap.mmap) -> str:
    head = mapped[:512].lstrip().lower()
    if head.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer (the file itself was not fetched: run git lfs pull)"
    if head.startswith((b"<!doctype", b"<html", b"<?xml")):
        return "a web page saved under this name"
    return f"something else (it begins with {mapped[:8]!r})"


Parts = tuple[Any, list[StridedTensor], dict[str, int]]


def _read_zip(path: Path, mapped: mmap.mmap) -> Parts:
    """Return the object, its tensors, and where each storage starts in the file."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = {info.filename: info for info in archive.infolist()}
    except (zipfile.BadZipFile, NotImplementedError, EOFError, ValueError, OSError) as error:
        raise CheckpointError(
            f"{path} is truncated or damaged at {len(mapped):,} bytes ({one_line(error)}); {AGAIN}"
        ) from None
    records = [name for name in entries if name.count("/") == 1 and name.endswith("/data.pkl")]
    if len(records) != 1:
        raise CheckpointError(
            f"{path} is a zip archive, but not one of torch.save: {len(records)} entries named "
            f"data.pkl, 1 was expected; it holds {', '.join(map(ascii, list(entries)[:5]))}"
        )
    folder = records[0].removesuffix("data.pkl")
    if (order := entries.get(f"{folder}byteorder")) is not None:
        start, size = _entry(path, mapped, order)
        if mapped[start : start + size] != b"little":
            raise CheckpointError(f"{path} was written on a big-endian machine; not supported")
    start, size = _entry(path, mapped, entries[records[0]])
    root, tensors, end = unpickle(mapped, start, str(path))
    if end > start + size:
        raise CheckpointError(f"{path} is damaged: data.pkl is longer than it says; {AGAIN}")
    starts = {}
    for storage in _storages(path, tensors).values():
        info = entries.get(f"{folder}data/{storage.key}")
        if info is None:
            raise CheckpointError(f"{path} lacks the storage {storage.key!a}; {AGAIN}")
        starts[storage.key], size = _entry(path, mapped, info)
        if size != (expected := storage.count * DTYPES[storage.dtype].itemsize):
            raise CheckpointError(
                f"{path} is damaged: the storage {storage.key!a} has {size:,} bytes, "
                f"{expected:,} were expected; {AGAIN}"
            )
    return root, tensors, starts


def _entry(path: Path, mapped: mmap.mmap, info: zipfile.ZipInfo) -> tuple[int, int]:
    """Return where an entry's bytes start in the file, and how many there are."""
    if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
        raise CheckpointError(
            f"{path}: {info.filename!a} is compressed or encrypted, which torch.save never does; "
            "unpack the archive and pack it again without compression (zip -0)"
        )
    header = mapped[info.header_offset : info.header_offset + 30]
    if len(header) == 30 and header[:4] == b"PK\x03\x04":
        name, extra = struct.unpack("<HH", header[26:30])
        start = info.header_offset + 30 + name + extra
        if start + info.file_size <= len(mapped):
            return start, info.file_size
    raise CheckpointError(
        f"{path} is damaged: {info.filename!a} is not where it should be; {AGAIN}"
    )


def _read_legacy(path: Path, mapped: mmap.mmap) -> Parts:
    """Return the same of the older container: five pickles in a row, then the storages."""
    found, position = [], 0
    for _ in range(5):
        *both, position = unpickle(mapped, position, str(path))
        found.append(both)
        if found[0][0] != LEGACY_MAGIC:
            raise CheckpointError(f"{path} is a pickle, but not one of torch.save")
    (_, _), (protocol, _), (system, _), (root, tensors), (keys, _) = found
    if protocol != LEGACY_PROTOCOL or not isinstance(system, dict) or not isinstance(keys, list):
        raise CheckpointError(f"{path} has an unknown version {str(protocol)[:40]} of its format")
    if system.get("little_endian") is not True:
        raise CheckpointError(f"{path} was written on a big-endian machine; not supported")
    storages = _storages(path, tensors)
    starts = {}
    for key in keys:
        storage = storages.get(key) if isinstance(key, str) else None
        count = int.from_bytes(mapped[position : position + 8], "little")
        if storage is None or count != storage.count:
            raise CheckpointError(f"{path} is damaged: its storages are not as it says; {AGAIN}")
        starts[storage.key] = position + 8
        position += 8 + count * DTYPES[storage.dtype].itemsize
    if missing := storages.keys() - starts.keys():
        raise CheckpointError(f"{path} lacks the storage {min(missing)!a}; {AGAIN}")
    if position > len(mapped):
        raise CheckpointError(
            f"{path} is truncated: {len(mapped):,} bytes, {position:,} were expected; {AGAIN}"
        )
    return root, tensors, starts


def _storages(path: Path, tensors: Iterable[StridedTensor]) -> dict[str, Storage]:
    """Return each storage once; two tensors may share one, but must agree about it."""
    storages: dict[str, Storage] = {}
    for tensor in tensors:
        storage = tensor.storage
        first = storages.setdefault(storage.key, storage)
        if (first.dtype, first.count) != (storage.dtype, storage.count):
            raise CheckpointError(f"{path} is damaged: two accounts of storage {storage.key!a}")
    return storages


def _view(path: Path, mapped: mmap.mmap, found: StridedTensor, start: int) -> Tensor:
    """Return the tensor's numbers in place, once they are known to lie within its storage."""
    shape, stride, storage = found.shape, found.stride, found.storage
    count, last = 1, found.offset
    for size, step in zip(shape, stride, strict=False):
        count, last = count * size, last + (size - 1) * step
    inside = count == 0 or last < storage.count
    # More numbers than the storage has would be one number repeated: no checkpoint does that.
    if len(shape) == len(stride) <= 8 and inside and count <= storage.count:
        dtype = DTYPES[storage.dtype]
        offset = start + found.offset * dtype.itemsize
        strides = tuple(step * dtype.itemsize for step in stride)
        try:
            if count == 0:  # offset and strides may be anything
                return Tensor(np.empty(shape, dtype), storage.dtype)
            return Tensor(np.ndarray(shape, dtype, mapped, offset, strides), storage.dtype)
        except (ValueError, OverflowError):
            pass  # an axis beyond any machine, beside one of length 0 or 1
    raise CheckpointError(
        f"{path} is damaged: a tensor of shape {str(shape)[:80]}, stride {str(stride)[:80]} "
        f"and offset {found.offset} does not fit its storage of {storage.count} numbers"
    )
