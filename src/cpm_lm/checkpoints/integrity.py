"""Integrity checks: files against their manifest, and tensors for values that are not finite.

Knows digests and number formats; does not know what a model does with its weights.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from cpm_lm.checkpoints.manifest import MANIFEST, FileRecord, digest
from cpm_lm.checkpoints.source import Source
from cpm_lm.checkpoints.tensors import nonfinite_count
from cpm_lm.checkpoints.text import one_line
from cpm_lm.errors import CheckpointError
from cpm_lm.json_file import parse_json
from cpm_lm.languages import later, tr

__all__ = [
    "REPAIR_HINT",
    "CheckedFile",
    "ManifestRecord",
    "check_file",
    "damaged",
    "nonfinite_tensors",
    "read_manifest",
    "size_problem",
]

REPAIR_HINT = later("convert or download the model again")


@dataclass(frozen=True, kw_only=True)
class CheckedFile:
    """The result of checking one file against its manifest."""

    name: str
    bytes: int
    """The size that the manifest records."""
    problem: str | None
    """What is wrong with the file; None if it is unchanged."""


@dataclass(frozen=True, kw_only=True)
class ManifestRecord:
    """What a manifest says of the files beside it."""

    files: tuple[FileRecord, ...]
    parameters: int | None
    """The number of parameters, if recorded."""
    weights: str | None = None
    """The number format, if recorded."""
    tool: str | None = None
    """The program that wrote it, and its version, if recorded."""
    layout: str | None = None
    """The layout of the source, if recorded."""


def damaged(path: Path, error: Exception) -> CheckpointError:
    """Return the error of a manifest whose values cannot be used."""
    return CheckpointError(
        "{path} is damaged: {error}; {repair_hint}",
        path=path,
        error=one_line(error),
        repair_hint=tr(REPAIR_HINT),
    )


def read_manifest(directory: Path) -> ManifestRecord | None:
    """Read a directory's manifest; None if there is none.

    Raises:
        CheckpointError: the manifest is damaged, or names files outside the directory.
    """
    path = directory / MANIFEST
    if not path.exists():
        return None
    try:
        values = parse_json(path, CheckpointError)
        files = tuple(_parse_record(entry) for entry in values["files"])
        parameters = values.get("parameters")
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise damaged(path, error) from None
    if not files:
        raise CheckpointError(
            "{path} is damaged: it names no files; {repair_hint}",
            path=path,
            repair_hint=tr(REPAIR_HINT),
        )
    texts = {key: _line(values.get(key)) for key in ("weights", "tool", "layout")}
    known = parameters if type(parameters) is int else None
    return ManifestRecord(files=files, parameters=known, **texts)


def _line(value: Any) -> str | None:
    """Return a value if it is text that can be printed."""
    return value if isinstance(value, str) and value.isprintable() else None


def _parse_record(entry: Any) -> FileRecord:
    name, size, sha256 = entry["name"], entry["bytes"], entry["sha256"]
    if not (isinstance(name, str) and isinstance(sha256, str) and type(size) is int and size >= 0):
        raise ValueError(tr("a file's name, bytes or sha256 has the wrong type"))
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or not name.isprintable():
        raise ValueError(tr("a file is named {name!r}", name=name[:80]))
    return FileRecord(name=name, bytes=size, sha256=sha256)


def check_file(
    directory: Path, record: FileRecord, on_bytes: Callable[[int], None] | None = None
) -> CheckedFile:
    """Check that a file exists and has the recorded size and digest.

    Args:
        directory: the directory of the manifest.
        record: the file's entry in the manifest.
        on_bytes: called with the size of each chunk that is read.
    """
    problem = size_problem(directory, record)
    try:
        if (
            problem is None
            and digest(directory / record.name, record.name, on_bytes).sha256 != record.sha256
        ):
            problem = tr("has changed since it was written: its sha256 differs")
    except OSError as error:
        problem = tr("cannot be read: {strerror}", strerror=tr(error.strerror or ""))
    hint = problem and f"{problem}; {tr(REPAIR_HINT)}"
    return CheckedFile(name=record.name, bytes=record.bytes, problem=hint)


def size_problem(directory: Path, record: FileRecord) -> str | None:
    """Return how a file's size differs from its manifest's, without reading the file."""
    try:
        found = (directory / record.name).stat().st_size
    except FileNotFoundError:
        return tr("is missing")
    except OSError as error:
        return tr("cannot be read: {strerror}", strerror=tr(error.strerror or ""))
    if found != record.bytes:
        return tr("has {found:,} bytes, {bytes:,} were written", found=found, bytes=record.bytes)
    return None


def nonfinite_tensors(
    source: Source, on_bytes: Callable[[int], None] | None = None
) -> dict[str, int]:
    """Count the values that are NaN or infinite, for every tensor that has any.

    Args:
        source: an opened checkpoint.
        on_bytes: called with the size of each block that is read.
    """
    add = on_bytes or (lambda _: None)
    counts = {name: nonfinite_count(tensor, add) for name, tensor in source.tensors.items()}
    return {name: count for name, count in counts.items() if count}
