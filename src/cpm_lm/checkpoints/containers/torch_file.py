"""Read files of torch.save without PyTorch; tensors are memory-mapped views.

Knows the zip container (PyTorch 1.6 and newer) and the legacy container; does not know checkpoints.
"""

from __future__ import annotations

import functools
import mmap
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from cpm_lm.checkpoints.containers.opened import map_file
from cpm_lm.checkpoints.containers.stand_ins import Storage, StridedTensor
from cpm_lm.checkpoints.containers.unpickler import Pickle, unpickle
from cpm_lm.checkpoints.containers.zip_checksums import LazyCheck, check_entry, read_entries
from cpm_lm.checkpoints.containers.zip_directory import Entry
from cpm_lm.checkpoints.dtypes import DTYPES
from cpm_lm.checkpoints.tensors import Tensor
from cpm_lm.checkpoints.text import one_line
from cpm_lm.errors import CheckpointError
from cpm_lm.languages import later, tr
from cpm_lm.messages import shortened, unreadable_kind

__all__ = ["read_torch_file"]

# MAGIC_NUMBER and PROTOCOL_VERSION of the legacy container in torch/serialization.py.
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_PROTOCOL = 1001
DOWNLOAD_HINT = later("download it again")


def read_torch_file(path: Path, on_stand_in: Callable[[str], object] = lambda _: None) -> Any:
    """Return what torch.load would return, with a `StridedTensor` for every tensor.

    Its `.tensor` is a read-only view of the memory-mapped file: nothing is copied. Objects of other
    classes are stand-ins; nothing is imported or run.

    Args:
        path: the file.
        on_stand_in: called with the name of every class or function that got a stand-in.

    Raises:
        CheckpointError: the file is truncated, damaged or not from torch.save.
    """
    mapped = map_file(path)
    checks: dict[str, LazyCheck] = {}
    if mapped[:4] == b"PK\x03\x04":
        found, starts, checks = _read_zip(path, mapped)
    elif mapped[:1] == b"\x80":
        found, starts = _read_legacy(path, mapped)
    else:
        raise CheckpointError(
            "{path} is {content}; expected a PyTorch file",
            path=path,
            content=_describe_content(mapped),
        )
    for tensor in found.tensors:
        key = tensor.storage.key
        tensor.tensor = _map_tensor(path, mapped, tensor, starts[key], checks.get(key))
    for name in found.stand_ins:
        on_stand_in(name)
    return found.root


def _describe_content(mapped: mmap.mmap) -> str:
    known = unreadable_kind(mapped[:512])
    return known or tr(
        "of an unknown format (it begins with {mapped!r}); {download_hint}",
        mapped=mapped[:8],
        download_hint=tr(DOWNLOAD_HINT),
    )


Checks = dict[str, LazyCheck]
ReadResult = tuple[Pickle, dict[str, int]]
"""The content of the file, and the file offset of each storage."""


def _read_zip(path: Path, mapped: mmap.mmap) -> tuple[Pickle, dict[str, int], Checks]:
    """Return the content, and the file offset and the check of each storage."""
    entries = read_entries(path, mapped)
    records = [name for name in entries if name.count("/") == 1 and name.endswith("/data.pkl")]
    if len(records) != 1:
        held = shortened((one_line(name, 60) for name in entries), ", ")
        raise CheckpointError(
            "{path} is a zip archive, but not one of torch.save: {n_records} entries "
            "named data.pkl, expected 1; it holds {held}",
            path=path,
            n_records=len(records),
            held=held or "nothing",
        )
    folder = records[0].removesuffix("data.pkl")
    if (order := entries.get(f"{folder}byteorder")) is not None:
        _check_plain(path, order)
        if order.size != 6 or mapped[order.start : order.start + 6] != b"little":
            raise CheckpointError(
                "{path} was written on a big-endian machine; not supported", path=path
            )
    record = entries[records[0]]
    _check_plain(path, record)
    check_entry(path, mapped, record)
    found = unpickle(mapped, record.start, record.start + record.size, str(path))
    starts, checks = {}, {}
    for storage in _unique_storages(path, found.storages).values():
        entry = entries.get(f"{folder}data/{storage.key}")
        if entry is None:
            raise CheckpointError(
                "{path} lacks the storage {storage_key}; {download_hint}",
                path=path,
                storage_key=one_line(storage.key, 80),
                download_hint=tr(DOWNLOAD_HINT),
            )
        _check_plain(path, entry)
        starts[storage.key] = entry.start
        named = functools.partial(_names_of, found.root, storage.key)
        checks[storage.key] = LazyCheck(path, mapped, entry, named)
        if entry.size != (expected := storage.count * DTYPES[storage.dtype].itemsize):
            raise CheckpointError(
                "{path} is damaged: the storage {storage_key} has {entry_size:,} bytes, "
                "expected {expected:,}; {download_hint}",
                path=path,
                storage_key=one_line(storage.key, 80),
                entry_size=entry.size,
                expected=expected,
                download_hint=tr(DOWNLOAD_HINT),
            )
    return found, starts, checks


def _names_of(root: object, key: str) -> str:
    """Return the names of the tensors in a storage, for an error."""
    names, seen, level = [], {id(root)}, [root]
    while level:
        held = level.pop()
        for name, value in held.items() if isinstance(held, dict) else ():
            if isinstance(value, StridedTensor) and value.storage.key == key:
                names.append(one_line(name, 80))
            elif isinstance(value, dict) and id(value) not in seen:
                seen.add(id(value))
                level.append(value)
    return shortened(names, ", ")


def _check_plain(path: Path, entry: Entry) -> None:
    if not entry.plain:
        raise CheckpointError(
            "{path}: {entry_name} is compressed or encrypted, which torch.save never "
            "does; unpack the archive and pack it again without compression (zip -0)",
            path=path,
            entry_name=one_line(entry.name, 80),
        )


def _read_legacy(path: Path, mapped: mmap.mmap) -> ReadResult:
    """Read the legacy container; return the same as `_read_zip`.

    It holds five pickles: the magic number, the protocol, system information, the object, and the
    list of storage keys. The storages follow in the order of that list, each after its count.
    """
    found: list[Pickle] = []
    for _ in range(5):
        start = found[-1].end if found else 0
        found.append(unpickle(mapped, start, len(mapped), str(path)))
        if type(found[0].root) is not int or found[0].root != LEGACY_MAGIC:
            raise CheckpointError("{path} is a pickle, but not one of torch.save", path=path)
    protocol, system, keys = found[1].root, found[2].root, found[4].root
    known = type(protocol) is int and protocol == LEGACY_PROTOCOL
    if not known or not isinstance(system, dict) or not isinstance(keys, list):
        raise CheckpointError(
            "{path} has an unknown version {protocol} of its format",
            path=path,
            protocol=one_line(protocol),
        )
    if system.get("little_endian") is not True:
        raise CheckpointError(
            "{path} was written on a big-endian machine; not supported", path=path
        )
    storages = _unique_storages(path, found[3].storages)
    starts, position = {}, found[4].end
    for key in keys:
        storage = storages.get(key) if isinstance(key, str) else None
        count = int.from_bytes(mapped[position : position + 8], "little")
        if storage is None or count != storage.count:
            raise CheckpointError(
                "{path} is damaged: its storages do not match its tensors; {download_hint}",
                path=path,
                download_hint=tr(DOWNLOAD_HINT),
            )
        starts[storage.key] = position + 8
        position += 8 + count * DTYPES[storage.dtype].itemsize
    if missing := storages.keys() - starts.keys():
        raise CheckpointError(
            "{path} lacks the storage {missing}; {download_hint}",
            path=path,
            missing=one_line(min(missing), 80),
            download_hint=tr(DOWNLOAD_HINT),
        )
    if position > len(mapped):
        raise CheckpointError(
            "{path} is truncated: it has {size:,} bytes, expected {position:,}; {download_hint}",
            path=path,
            size=len(mapped),
            position=position,
            download_hint=tr(DOWNLOAD_HINT),
        )
    return found[3], starts


def _unique_storages(path: Path, found: Iterable[Storage]) -> dict[str, Storage]:
    """Return each storage once; tensors that share a storage must agree on its type and size."""
    storages: dict[str, Storage] = {}
    for storage in found:
        first = storages.setdefault(storage.key, storage)
        if (first.dtype, first.count) != (storage.dtype, storage.count):
            raise CheckpointError(
                "{path} is damaged: tensors disagree on the storage {storage_key}",
                path=path,
                storage_key=one_line(storage.key, 80),
            )
    return storages


def _map_tensor(
    path: Path, mapped: mmap.mmap, found: StridedTensor, start: int, check: LazyCheck | None
) -> Tensor:
    """Return a view of the tensor's values, after checking that it is within its storage."""
    shape, stride, dtype = found.shape, found.stride, DTYPES[found.dtype]
    held = found.storage.count * DTYPES[found.storage.dtype].itemsize // dtype.itemsize
    count, last = 1, found.offset
    for size, step in zip(shape, stride, strict=False):
        count, last = count * size, last + (size - 1) * step
    inside = count == 0 or last < held
    # A view with more values than the storage would repeat some: no checkpoint needs that, and a
    # small hostile file could claim a huge tensor.
    if len(shape) == len(stride) <= 8 and inside and count <= held:
        offset = start + found.offset * dtype.itemsize
        strides = tuple(step * dtype.itemsize for step in stride)
        try:
            if count == 0:  # offset and strides may be anything
                return Tensor(np.empty(shape, dtype), found.dtype)
            return Tensor(np.ndarray(shape, dtype, mapped, offset, strides), found.dtype, check)
        except (ValueError, OverflowError, MemoryError):
            pass  # numpy refuses a huge axis or stride, even beside an axis of length 0 or 1
    raise CheckpointError(
        "{path} is damaged: a tensor of shape {shape}, stride {stride} and "
        "offset {offset} does not fit its storage of {held} values",
        path=path,
        shape=str(shape)[:80],
        stride=str(stride)[:80],
        offset=found.offset,
        held=held,
    )
