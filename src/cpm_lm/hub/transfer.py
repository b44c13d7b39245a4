"""Fetch a large file to a path that is named by its digest, and resume an interrupted download.

Knows files, digests and locks; does not know where the bytes come from.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from cpm_lm.checkpoints.manifest import digest
from cpm_lm.errors import CheckpointError

try:
    import fcntl
except ImportError:  # Windows: if two processes fetch one file, the final digest check detects it
    fcntl = None  # type: ignore[assignment]

__all__ = ["Transfer", "fetch_blob", "partial_path"]

Transfer = Callable[["ProgressFile", int], None]
"""A function that takes a file and its present size, and appends the rest."""


def partial_path(blob: Path) -> Path:
    """Return the path of the partial file during the download."""
    return blob.with_name(f"{blob.name}.cpm.incomplete")


class ProgressFile:
    """A file for writing that reports every change of its size."""

    def __init__(self, file: BinaryIO, on_bytes: Callable[[int], None]) -> None:
        self._file, self._on_bytes = file, on_bytes
        self.tell, self.seek = file.tell, file.seek

    def write(self, data: bytes) -> int:
        """Append bytes."""
        self._on_bytes(len(data))
        return self._file.write(data)

    def truncate(self) -> int:
        """Drop everything after the current position, because the sender starts again."""
        position, end = self._file.tell(), self._file.seek(0, os.SEEK_END)
        self._file.seek(position)
        self._on_bytes(position - end)
        return self._file.truncate()


def fetch_blob(blob: Path, size: int, transfer: Transfer, on_bytes: Callable[[int], None]) -> None:
    """Fetch a file to a partial file, check its digest, and rename it.

    Args:
        blob: the path of the file; its name is its SHA-256.
        size: its size in bytes.
        transfer: fetches the missing bytes.
        on_bytes: called with the number of bytes that already exist, then with the size of each
            chunk; negative if bytes must be fetched again.

    Raises:
        CheckpointError: another process is fetching it, or it arrived damaged.
        OSError: the disk is full or not writable.
    """
    blob.parent.mkdir(parents=True, exist_ok=True)
    part = partial_path(blob)
    with _open_locked(part) as file:
        if blob.exists():  # another process finished before we had the lock
            on_bytes(size)
            return
        have = file.seek(0, os.SEEK_END)
        if have > size:
            have = file.truncate(file.seek(0))
        on_bytes(have)
        transfer(ProgressFile(file, on_bytes), have)
        file.flush()
        os.fsync(file.fileno())
        if part.stat().st_size != size or digest(part, part.name).sha256 != blob.name:
            part.unlink()
            raise CheckpointError(
                "a file of {size:,} bytes arrived damaged: its sha256 is not "
                "{blob_name}; try again",
                size=size,
                blob_name=blob.name,
            )
        part.rename(blob)


@contextmanager
def _open_locked(part: Path) -> Iterator[BinaryIO]:
    """Open the partial file for appending, with an exclusive lock."""
    with part.open("ab+") as file:
        if fcntl is not None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise CheckpointError(
                    "another process is fetching this model into {parent}; wait for it",
                    parent=part.parent,
                ) from None
            except OSError:
                pass  # a network file system without lock support
        yield file
