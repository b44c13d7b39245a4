"""The manifest of a conversion: the files that were read and written, and their digests.

Knows files as bytes; does not know their content.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cpm_lm.display import fields_on_a_line
from cpm_lm.errors import CheckpointError
from cpm_lm.installation import version
from cpm_lm.json_file import parse_json

__all__ = [
    "MANIFEST",
    "FileRecord",
    "Manifest",
    "digest",
    "files_digest",
    "read_chunks",
    "recorded_iteration",
    "recorded_origin",
    "tool_version",
    "training_step",
]

MANIFEST = "manifest.json"
CHUNK_BYTES = 1 << 22


@dataclass(frozen=True, kw_only=True)
class FileRecord:
    """The size and the digest of one file."""

    name: str
    """The path relative to the checkpoint's or the store's directory."""
    bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The record of a conversion, written to the target as `manifest.json`."""

    tool: str
    """The program and its version."""
    layout: str
    """The layout of the source: deepspeed, megatron, huggingface, tensorflow or store."""
    ranks: int
    """The number of shards of the source."""
    iteration: int | None
    """The training step of the checkpoint, if recorded."""
    weights: str
    """The number format that was written: f32, f16, bf16, q8 or q4."""
    parameters: int
    """The number of parameters."""
    sources: tuple[FileRecord, ...]
    """The files that were read."""
    files: tuple[FileRecord, ...]
    """The files that were written, except the manifest itself."""
    rounding: str | None = None
    """How the layers' matrices were quantized: "nearest" is round to nearest, "feedback" is GPTQ;
    None for floats."""
    errors: Mapping[str, float] = field(default_factory=dict)
    """The relative error of every quantized matrix: ||quantized - original|| / ||original||."""
    ignored: tuple[str, ...] = ()
    """Tensors of the source that were not converted: buffers and copies, not weights."""
    notes: tuple[str, ...] = ()
    """Anomalies of the source, one line each."""
    origin: str | None = None
    """Where the weights were published: `owner/name@commit` on the hub, or the name of a release;
    None if not known."""

    __repr__ = fields_on_a_line

    def to_json(self) -> dict[str, Any]:
        """Return the manifest as JSON values."""
        return dataclasses.asdict(self)


def tool_version() -> str:
    """Return this program's name and version."""
    return f"cpm-lm {version()}"


def digest(
    path: Path,
    name: str,
    on_bytes: Callable[[int], None] | None = None,
    others: Iterable[Any] = (),
) -> FileRecord:
    """Compute the record of a file, reading it in chunks.

    Args:
        path: the file.
        name: the name to record.
        on_bytes: called with the size of each chunk.
        others: hashes of `hashlib`, to be updated with the same bytes.
    """
    sha = hashlib.sha256()
    size = 0
    for chunk in read_chunks(path):
        for known in (sha, *others):
            known.update(chunk)
        size += len(chunk)
        if on_bytes:
            on_bytes(len(chunk))
    return FileRecord(name=name, bytes=size, sha256=sha.hexdigest())


def read_chunks(path: Path) -> Iterator[bytes]:
    """Yield a file's bytes in chunks of at most CHUNK_BYTES."""
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


def recorded_iteration(directory: Path) -> int | None:
    """Return the training step that a store's manifest records; None if there is none."""
    return training_step(_recorded(directory, "iteration"))


def recorded_origin(directory: Path) -> str | None:
    """Return where a store's manifest says its weights were published; None if it does not."""
    origin = _recorded(directory, "origin")
    return origin if isinstance(origin, str) and origin.isprintable() else None


def _recorded(directory: Path, key: str) -> Any:
    try:
        values = parse_json(directory / MANIFEST, CheckpointError)
    except CheckpointError:  # `verify` says what is wrong with it
        return None
    return values.get(key) if isinstance(values, dict) else None


def files_digest(directory: Path) -> str:
    """Return a sha256 that stands for all files that a manifest records; empty without one."""
    try:
        recorded = sorted((file["name"], file["sha256"]) for file in _recorded(directory, "files"))
    except (KeyError, TypeError):
        return ""
    return hashlib.sha256(json.dumps(recorded).encode()).hexdigest()


def training_step(value: object) -> int | None:
    """Return a value as the number of a training step, if it can be one; else None."""
    return value if type(value) is int and 0 <= value < 1 << 63 else None
