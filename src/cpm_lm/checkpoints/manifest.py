"""What a conversion did: which files it read, which it wrote, and their digests.

Knows files as bytes; does not know what is in them.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

__all__ = [
    "MANIFEST",
    "FileRecord",
    "Manifest",
    "digest",
    "pieces",
    "recorded_iteration",
    "tool_version",
]

MANIFEST = "manifest.json"
CHUNK = 1 << 22


@dataclass(frozen=True, kw_only=True)
class FileRecord:
    """One file."""

    name: str
    """Its path below the checkpoint's or the store's directory."""
    bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The record of a conversion, kept in the store as `manifest.json`."""

    tool: str
    """The program and its version."""
    layout: str
    """What was read: deepspeed, megatron, huggingface, tensorflow or store."""
    ranks: int
    """How many shards the weights came in."""
    iteration: int | None
    """The training step the checkpoint was written at, if it says."""
    weights: str
    """The store's number format: f32, f16, bf16, q8 or q4."""
    parameters: int
    """The number of trained numbers."""
    sources: tuple[FileRecord, ...]
    """The files that were read."""
    files: tuple[FileRecord, ...]
    """The files that were written, without this record itself."""
    rounding: str | None = None
    """How the blocks' matrices were rounded to 8 or 4 bits: "nearest", each number to the nearest
    code, or "feedback", each making up for those before it; None where they are floats."""
    errors: Mapping[str, float] = field(default_factory=dict)
    """Of every matrix that was packed in 8 or 4 bits, the norm of what rounding changed over the
    matrix's own."""
    ignored: tuple[str, ...] = ()
    """Tensors of the source that were left out: they are no weights, or copies."""
    notes: tuple[str, ...] = ()
    """What was odd about the source, a line each."""

    def to_json(self) -> dict[str, Any]:
        """Return the record as JSON values."""
        return dataclasses.asdict(self)


def tool_version() -> str:
    """Return this program's name and version."""
    return f"cpm-lm {version('cpm-lm')}"


def digest(path: Path, name: str, on_bytes: Callable[[int], None] | None = None) -> FileRecord:
    """Return the record of a file, read in small pieces.

    Args:
        path: the file.
        name: what the record is to call it.
        on_bytes: called with the size of each piece.
    """
    sha = hashlib.sha256()
    size = 0
    for piece in pieces(path):
        sha.update(piece)
        size += len(piece)
        if on_bytes:
            on_bytes(len(piece))
    return FileRecord(name=name, bytes=size, sha256=sha.hexdigest())


def pieces(path: Path) -> Iterator[bytes]:
    """Yield a file's bytes, a few megabytes at a time."""
    with path.open("rb") as file:
        while piece := file.read(CHUNK):
            yield piece


def recorded_iteration(directory: Path) -> int | None:
    """Return the training step that a store's own record tells, if it has one."""
    try:
        values = json.loads((directory / MANIFEST).read_text("utf-8"))
    except (OSError, ValueError):
        return None
    iteration = values.get("iteration") if isinstance(values, dict) else None
    return iteration if type(iteration) is int else None
