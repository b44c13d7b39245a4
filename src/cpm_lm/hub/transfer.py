"""Fetch a file to a name of our own making, and resume an interrupted download.

Knows files, digests and locks; does not know where the bytes come from.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from typing import BinaryIO

from cpm_lm.errors import CheckpointError
from cpm_lm.hub.listing import RemoteFile
from cpm_lm.storage.directory import Directory
from cpm_lm.storage.files import open_partial
from cpm_lm.storage.owned import BusyError, NotOursError

__all__ = ["DamagedError", "ProgressFile", "Transfer", "fetch_blob", "partial_name"]

Transfer = Callable[["ProgressFile"], None]
"""A function that takes a file, at its end, and appends the rest."""
CHUNK_BYTES = 1 << 20


class DamagedError(Exception):
    """A server sent something else than the file that it announced."""


def partial_name(commit: str, file: RemoteFile) -> str:
    """Return the name of the partial file during the download: a digest that we have checked, or
    one that we compute.
    """
    own = hashlib.sha256(f"{commit}/{file.name}".encode()).hexdigest()
    return f"{file.sha256 or own}.cpm.incomplete"


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


def fetch_blob(
    blobs: Directory,
    part: str,
    file: RemoteFile,
    transfer: Transfer,
    on_bytes: Callable[[int], None],
) -> str:
    """Fetch a file to a partial file, check its digest, and rename it to its digest.

    Args:
        blobs: where the files of the cache are, under their digests.
        part: the name of the partial file.
        file: what is fetched.
        transfer: fetches the missing bytes.
        on_bytes: called with the number of bytes that already exist, then with the size of each
            chunk; negative if bytes must be fetched again.

    Returns:
        The name in `blobs`: the SHA-256 of a large file, or git's digest of a small one.

    Raises:
        CheckpointError: another process is fetching it, it arrived damaged, or a link is at the
            name of the partial file.
        OSError: the disk is full or not writable.
    """
    try:
        opened = open_partial(blobs, part)
    except BusyError:
        raise CheckpointError(
            "another process is fetching this model into {blobs_path}; wait for it",
            blobs_path=blobs.path,
        ) from None
    except NotOursError as error:
        raise CheckpointError(
            "{error}; remove it, and run the same command again", error=error
        ) from None
    with opened:
        if file.digest is not None and blobs.status(file.digest) is not None:
            on_bytes(file.size or 0)  # another process finished before we had the lock
            _remove_if_empty(blobs, part)
            return file.digest
        _receive(opened, file, transfer, on_bytes, lambda: blobs.unlink(part))
        digest = _digest(opened, file)
        if digest != (file.digest or digest):
            blobs.unlink(part)
            raise CheckpointError(
                "{file_name}, {file_size:,} bytes, arrived damaged: its digest is not "
                "{digest}; try again",
                file_name=file.name,
                file_size=file.size or 0,
                digest=file.digest,
            )
        blobs.rename(part, blobs, digest)
        return digest


def _receive(
    opened: BinaryIO,
    file: RemoteFile,
    transfer: Transfer,
    on_bytes: Callable[[int], None],
    remove: Callable[[], None],
) -> None:
    have = opened.seek(0, os.SEEK_END)
    if have > file.limit:
        have = opened.truncate(opened.seek(0))
    on_bytes(have)
    try:
        transfer(ProgressFile(opened, on_bytes))
    except DamagedError as error:
        remove()
        raise CheckpointError(
            "{file_name} arrived damaged: {error}; try again", file_name=file.name, error=error
        ) from None
    opened.flush()
    os.fsync(opened.fileno())


def _digest(opened: BinaryIO, file: RemoteFile) -> str:
    """Return the digest by which the hub names a file, from the open file itself."""
    size = opened.seek(0, os.SEEK_END)
    opened.seek(0)
    if file.sha256 is not None:
        sha = hashlib.sha256()
    else:  # git's name of a file; the hub gives it for small files
        sha = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
    while chunk := opened.read(CHUNK_BYTES):
        sha.update(chunk)
    return sha.hexdigest()


def _remove_if_empty(blobs: Directory, part: str) -> None:
    status = blobs.status(part)
    if status is not None and status.st_size == 0:
        blobs.unlink(part)
