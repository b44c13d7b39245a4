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
    try:
        with path.open("rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:
        raise CheckpointError("{path} cannot be read: {error}", path=path, error=error) from None
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
    try:
        header = json.loads(mapped[8:start], object_pairs_hook=_reject_duplicates)
        header.pop("__metadata__", None)
        tensors, end = {}, 0
        for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
            tensors[name], end = _map_tensor(mapped, start, end, name, entry)
    except CheckpointError as error:
        raise CheckpointError("{path} {error}", path=path, error=error) from None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
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
    mapped: mmap.mmap, start: int, begin: int, tensor: str, entry: dict[str, Any]
) -> tuple[Tensor, int]:
    """Return a view of one tensor and its end; it must begin where the previous one ended.

    `start` is the file offset of the values; `begin` and the end count from there.
    """
    name, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if name not in DTYPES:
        raise CheckpointError(
            "holds {tensor} in the number format {name}, which is not supported; "
            "expected one of {dtypes}: get the model in 16 or 32 bits",
            tensor=one_line(tensor, 80),
            name=one_line(name, 40),
            dtypes=", ".join(DTYPES),
        )
    if not all(type(n) is int and n >= 0 for n in shape) or len(shape) > 8:
        raise ValueError(tr("shape {shape}", shape=str(shape)[:80]))
    dtype = DTYPES[name]
    end = begin + dtype.itemsize * math.prod(shape)
    if start + end > len(mapped):
        raise ValueError(
            tr(
                "the file has {size:,} bytes, expected {expected:,} or more",
                size=len(mapped),
                expected=start + end,
            )
        )
    if offsets != [begin, end]:
        raise ValueError(
            tr(
                "offsets {offsets}, expected {expected}",
                offsets=str(offsets)[:80],
                expected=[begin, end],
            )
        )
    return Tensor(np.ndarray(shape, dtype, mapped, start + begin), name), end


def _reject_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError(tr("a name occurs twice"))
    return dict(pairs)
