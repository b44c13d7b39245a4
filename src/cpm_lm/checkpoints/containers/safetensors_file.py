"""The safetensors format: written as a stream, read as memory-mapped views.

Knows the format; does not know models. A file is: 8 bytes, the header's size (little-endian); the
header, JSON; the values of all tensors without gaps. `data_offsets` count from the end of the
header. Source: the README of huggingface/safetensors.
"""

from __future__ import annotations

import json
import math
import mmap
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cpm_lm.checkpoints.containers.opened import map_file
from cpm_lm.checkpoints.containers.safetensors_header import HeaderEntry, parse_header
from cpm_lm.checkpoints.dtypes import DTYPES, Array
from cpm_lm.checkpoints.tensors import Tensor
from cpm_lm.checkpoints.text import one_line
from cpm_lm.errors import CheckpointError
from cpm_lm.languages import tr
from cpm_lm.messages import unreadable_kind

__all__ = ["header_bytes", "read_safetensors", "write_safetensors"]

MAX_HEADER = 100_000_000  # the format's own limit
ALIGNMENT = 64  # of the first tensor, so that vector loads from a memory-mapped file are aligned


def header_bytes(entries: Mapping[str, tuple[str, tuple[int, ...]]]) -> bytes:
    """Return everything before the values: the header's size, and the header.

    The header is padded with spaces, so that the values begin at a multiple of ALIGNMENT. Two
    tensors of 2 x 3 and 3 float32 values take 24 and 12 bytes:

    >>> header = header_bytes({"w": ("F32", (2, 3)), "b": ("F32", (3,))})
    >>> int.from_bytes(header[:8], "little"), len(header)
    (184, 192)
    >>> [entry["data_offsets"] for entry in list(json.loads(header[8:]).values())[1:]]
    [[0, 24], [24, 36]]

    Args:
        entries: format and shape of each tensor, in the order of writing.
    """
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    position = 0
    for name, (dtype, shape) in entries.items():
        end = position + DTYPES[dtype].itemsize * math.prod(shape)
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [position, end]}
        position = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-(len(text) + 8) % ALIGNMENT)
    return len(text).to_bytes(8, "little") + text


def write_safetensors(
    path: Path,
    entries: Mapping[str, tuple[str, tuple[int, ...]]],
    blocks: Iterator[Array],
    on_bytes: Callable[[memoryview], None],
) -> None:
    """Write a file from a stream of blocks, so that no full tensor is in memory.

    Args:
        path: the new file.
        entries: format and shape of each tensor, in the order of the blocks.
        blocks: the values of every tensor in C order, split at any point.
        on_bytes: called with all bytes that are written.
    """
    with path.open("xb") as file:
        header = header_bytes(entries)
        file.write(header)
        on_bytes(memoryview(header))
        for array in blocks:
            data = array.reshape(-1).view(np.uint8).data
            file.write(data)
            on_bytes(data)


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """Return every tensor of a file as a read-only memory-mapped view.

    Raises:
        CheckpointError: the file is truncated, damaged, or has another format.
    """
    mapped = map_file(path)
    if known := unreadable_kind(mapped[:512]):
        raise CheckpointError("{path} is {known}", path=path, known=known)
    size = int.from_bytes(mapped[:8], "little")
    start = 8 + size
    if not 2 <= size <= MAX_HEADER or start > len(mapped):
        raise CheckpointError(
            "{path} is truncated or not a safetensors file: it has {size:,} "
            "bytes, and its header would have {header:,}; download it again",
            path=path,
            size=len(mapped),
            header=size,
        )
    entries = parse_header(mapped[8:start], f"{path}")
    tensors, end = {}, 0
    try:
        for name, entry in sorted(entries.items(), key=lambda item: item[1].offsets):
            tensors[name], end = _map_tensor(mapped, start, end, name, entry)
    except ValueError as error:
        raise CheckpointError(
            "{path} has a damaged header: {error}", path=path, error=one_line(error)
        ) from None
    if start + end != len(mapped):
        raise CheckpointError(
            "{path} is damaged: it has {size:,} bytes, expected {expected:,}; "
            "convert the model again",
            path=path,
            size=len(mapped),
            expected=start + end,
        )
    return tensors


def _map_tensor(
    mapped: mmap.mmap, start: int, begin: int, name: str, entry: HeaderEntry
) -> tuple[Tensor, int]:
    """Return a view of one tensor and its end; it must begin where the previous one ended.

    `start` is the file offset of the values; `begin` and the end count from there.
    """
    dtype = DTYPES[entry.dtype]
    end = begin + dtype.itemsize * math.prod(entry.shape)
    if start + end > len(mapped):
        raise ValueError(
            tr(
                "the file has {n_mapped:,} bytes, expected {start:,} or more",
                n_mapped=len(mapped),
                start=start + end,
            )
        )
    if entry.offsets != (begin, end):
        raise ValueError(
            tr(
                "{name!a} has the offsets {offsets}, expected {value}",
                name=name[:60],
                offsets=list(entry.offsets),
                value=[begin, end],
            )
        )
    return Tensor(np.ndarray(entry.shape, dtype, mapped, start + begin), entry.dtype), end
