"""Whether files are still what they were when they were written, and numbers are numbers.

Knows digests and formats; does not know what a model does with its weights.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from cpm_lm.checkpoints.manifest import MANIFEST, FileRecord, digest
from cpm_lm.checkpoints.source import Source
from cpm_lm.checkpoints.tensors import nonfinite_count
from cpm_lm.checkpoints.text import one_line
from cpm_lm.errors import CheckpointError

__all__ = ["CheckedFile", "Recorded", "check_file", "nonfinite_tensors", "recorded"]

AGAIN = "convert or download the model again"


@dataclass(frozen=True, kw_only=True)
class CheckedFile:
    """One file of a manifest, compared with what lies on the disk."""

    name: str
    bytes: int
    """As the manifest has it."""
    problem: str | None
    """What is wrong with it; None if it is as it was written."""


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """What a manifest says was written."""

    files: tuple[FileRecord, ...]
    parameters: int | None
    """The number of trained numbers, if it says."""


def recorded(directory: Path) -> Recorded | None:
    """Return what a directory's manifest says was written; None where there is no manifest.

    Raises:
        CheckpointError: the manifest is damaged, or names files outside the directory.
    """
    path = directory / MANIFEST
    try:
        values = json.loads(path.read_text("utf-8"))
        files = tuple(_record(entry) for entry in values["files"])
        parameters = values.get("parameters")
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"{path} is damaged: {one_line(error)}; {AGAIN}") from None
    if not files:
        raise CheckpointError(f"{path} is damaged: it names no files; {AGAIN}")
    return Recorded(files=files, parameters=parameters if type(parameters) is int else None)


def _record(entry: Any) -> FileRecord:
    name, size, sha256 = entry["name"], entry["bytes"], entry["sha256"]
    if not (isinstance(name, str) and isinstance(sha256, str) and type(size) is int and size >= 0):
        raise ValueError("a file's name, bytes or sha256 is of another type")
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or not name.isprintable():
        raise ValueError(f"a file is named {name[:80]!r}")
    return FileRecord(name=name, bytes=size, sha256=sha256)


def check_file(
    directory: Path, record: FileRecord, on_bytes: Callable[[int], None] | None = None
) -> CheckedFile:
    """Compare a file with its record: whether it is there, its size, its digest.

    Args:
        directory: where the manifest lies.
        record: what it says about the file.
        on_bytes: called with the size of each piece that is read.
    """
    path = directory / record.name
    try:
        found = path.stat().st_size
        if found != record.bytes:
            problem = f"has {found:,} bytes, {record.bytes:,} were written"
        elif digest(path, record.name, on_bytes).sha256 != record.sha256:
            problem = "has changed since it was written: its sha256 is another"
        else:
            return CheckedFile(name=record.name, bytes=record.bytes, problem=None)
    except FileNotFoundError:
        problem = "is missing"
    except OSError as error:
        problem = f"cannot be read: {error.strerror}"
    return CheckedFile(name=record.name, bytes=record.bytes, problem=f"{problem}; {AGAIN}")


def nonfinite_tensors(
    source: Source, on_bytes: Callable[[int], None] | None = None
) -> dict[str, int]:
    """Return how many numbers of each tensor are NaN or infinite, of those that hold any.

    Args:
        source: an opened checkpoint.
        on_bytes: called with the size of each piece that is read.
    """
    add = on_bytes or (lambda _: None)
    counts = {name: nonfinite_count(tensor, add) for name, tensor in source.tensors.items()}
    return {name: count for name, count in counts.items() if count}
