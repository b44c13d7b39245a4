"""A large file fetched into a place that its digest names, going on where an earlier try stopped.

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
except ImportError:  # Windows: two that fetch one file are told by its digest at the end
    fcntl = None  # type: ignore[assignment]

__all__ = ["Transfer", "fetch_blob", "part_of"]

Transfer = Callable[["GrowingFile", int], None]
"""Appends to a file what comes after its first so many bytes."""


def part_of(blob: Path) -> Path:
    """Return where the part of a file lies that has been fetched so far."""
    return blob.with_name(f"{blob.name}.cpm.incomplete")


class GrowingFile:
    """A file that is being written, which tells how much it grows."""

    def __init__(self, file: BinaryIO, on_bytes: Callable[[int], None]) -> None:
        self._file, self._on_bytes = file, on_bytes
        self.tell, self.seek = file.tell, file.seek

    def write(self, data: bytes) -> int:
        """Append bytes."""
        self._on_bytes(len(data))
        return self._file.write(data)

    def truncate(self) -> int:
        """Forget what comes after here: the sender begins anew."""
        here, end = self._file.tell(), self._file.seek(0, os.SEEK_END)
        self._file.seek(here)
        self._on_bytes(here - end)
        return self._file.truncate()


def fetch_blob(blob: Path, size: int, transfer: Transfer, on_bytes: Callable[[int], None]) -> None:
    """Fetch a file that appears complete and undamaged, or not at all.

    Args:
        blob: where it is to lie; its name is its SHA-256.
        size: its bytes.
        transfer: fetches what is missing.
        on_bytes: called with the bytes that are there already, then with those that come; less
            than 0 where some must be fetched again.

    Raises:
        CheckpointError: another process is fetching it, or it came damaged.
        OSError: the disk is full or not writable.
    """
    blob.parent.mkdir(parents=True, exist_ok=True)
    part = part_of(blob)
    with _alone(part) as file:
        if blob.exists():  # another process finished between our two looks
            on_bytes(size)
            return
        have = file.seek(0, os.SEEK_END)
        if have > size:
            have = file.truncate(file.seek(0))
        on_bytes(have)
        transfer(GrowingFile(file, on_bytes), have)
        file.flush()
        os.fsync(file.fileno())
        if part.stat().st_size != size or digest(part, part.name).sha256 != blob.name:
            part.unlink()
            raise CheckpointError(
                f"a file of {size:,} bytes came damaged: its sha256 is not {blob.name}; try again"
            )
        part.rename(blob)


@contextmanager
def _alone(part: Path) -> Iterator[BinaryIO]:
    """Open the part for writing, while no other process does."""
    with part.open("ab+") as file:
        if fcntl is not None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise CheckpointError(
                    f"another process is fetching this model into {part.parent}; wait for it"
                ) from None
            except OSError:
                pass  # a network file system without locks
        yield file
