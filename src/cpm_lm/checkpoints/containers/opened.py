"""Open the files of a checkpoint: regular files only, so that no name can make a reader wait.

Knows the operating system's kinds of files; does not know formats. A named pipe, a device or a socket
in place of a file would block `open`, or never end.
"""

from __future__ import annotations

import mmap
import os
import stat
from pathlib import Path
from typing import BinaryIO

from cpm_lm.errors import CheckpointError

__all__ = ["map_file", "open_regular", "read_limited"]

KINDS = (
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
FLAGS = (
    os.O_RDONLY
    | getattr(os, "O_NONBLOCK", 0)  # a pipe put there after the check does not block either
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
)


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file, or a link to one, for reading.

    Raises:
        CheckpointError: it is missing, not readable, or of another kind (a directory, a named pipe,
            a device, a socket), at once.
    """
    try:
        # Before opening, because opening a device may already have an effect.
        _refuse_other_kinds(path, path.stat())
        descriptor = os.open(path, FLAGS)
        try:
            _refuse_other_kinds(path, os.fstat(descriptor))
            return os.fdopen(descriptor, "rb")
        except BaseException:
            os.close(descriptor)
            raise
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError:
        raise CheckpointError(f"{os.fspath(path)!a} is not a valid file name") from None


def map_file(path: Path) -> mmap.mmap:
    """Map a regular file into memory, for reading.

    Raises:
        CheckpointError: as `open_regular`, or the file is empty.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if not size:
            raise CheckpointError(f"{path} is empty; download it again")
        try:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError, OverflowError) as error:
            reason = error.strerror if isinstance(error, OSError) else "its size changed"
            raise CheckpointError(f"{path} cannot be mapped into memory: {reason}") from None


def read_limited(path: Path, limit: int) -> bytes:
    """Return the content of a regular file that is small by its nature.

    Args:
        path: the file.
        limit: the largest size in bytes.

    Raises:
        CheckpointError: as `open_regular`, or the file is larger than `limit`.
    """
    with open_regular(path) as file:
        try:
            data = file.read(limit + 1)
        except OSError as error:
            raise CheckpointError(f"{path} cannot be read: {error.strerror}") from None
    if len(data) > limit:
        raise CheckpointError(f"{path} is larger than {limit:,} bytes, the limit for such a file")
    return data


def _refuse_other_kinds(path: Path, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        kind = next((name for test, name in KINDS if test(found.st_mode)), "of another kind")
        raise CheckpointError(f"{path} is {kind}; expected a regular file")
