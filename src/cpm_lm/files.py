"""Open files that others made: regular files only, with a limit, as text of valid UTF-8.

Knows the operating system's kinds of files; does not know formats. A named pipe, a device or a
socket in place of a file would block `open`, or never end.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

from cpm_lm.errors import CpmError
from cpm_lm.languages import later, tr
from cpm_lm.messages import unreadable_kind

__all__ = ["TEXT_LIMIT", "open_regular", "read_limited", "read_text"]

TEXT_LIMIT = 64 << 20
"""The largest text file in bytes: vocabularies, dictionaries, settings."""
SMALL = 1 << 16
KINDS = (
    (stat.S_ISDIR, later("a directory")),
    (stat.S_ISFIFO, later("a named pipe")),
    (stat.S_ISSOCK, later("a socket")),
    (stat.S_ISCHR, later("a device")),
    (stat.S_ISBLK, later("a device")),
)
FLAGS = (
    os.O_RDONLY
    | getattr(os, "O_NONBLOCK", 0)  # a pipe put there after the check does not block either
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
)


def open_regular(path: Path, error: type[CpmError]) -> BinaryIO:
    """Open a regular file, or a link to one, for reading.

    Args:
        path: the file.
        error: the class of the error.

    Raises:
        CpmError: it is missing, not readable, or of another kind (a directory, a named pipe, a
            device, a socket), at once.
    """
    try:
        # Before opening, because opening a device may already have an effect.
        _refuse_other_kinds(path, path.stat(), error)
        descriptor = os.open(path, FLAGS)
        try:
            _refuse_other_kinds(path, os.fstat(descriptor), error)
            return os.fdopen(descriptor, "rb")
        except BaseException:
            os.close(descriptor)
            raise
    except OSError as failure:
        raise error(
            "{path} cannot be read: {strerror}", path=path, strerror=failure.strerror
        ) from None
    except ValueError:
        raise error("{name!a} is not a valid file name", name=os.fspath(path)) from None


def read_limited(path: Path, limit: int, error: type[CpmError]) -> bytes:
    """Return the content of a regular file that is small by its nature.

    Args:
        path: the file.
        limit: the largest size in bytes.
        error: the class of the error.

    Raises:
        CpmError: as `open_regular`, or the file is larger than `limit`.
    """
    with open_regular(path, error) as file:
        try:
            # `read` takes as much memory as it is asked for, so it is not asked for the limit.
            size = max(os.fstat(file.fileno()).st_size, SMALL)
            data = file.read(min(size, limit) + 1)
        except OSError as failure:
            raise error(
                "{path} cannot be read: {strerror}", path=path, strerror=failure.strerror
            ) from None
    if len(data) > limit:
        raise error(
            "{path} is larger than {limit:,} bytes, the limit for such a file",
            path=path,
            limit=limit,
        )
    return data


def read_text(path: Path, error: type[CpmError], limit: int = TEXT_LIMIT) -> str:
    """Return the text of a file in UTF-8, without a byte order mark.

    Args:
        path: the file.
        error: the class of the error.
        limit: the largest size in bytes.

    Raises:
        CpmError: as `read_limited`, or the file is known to be of another kind, or not UTF-8.
    """
    data = read_limited(path, limit, error)
    if known := unreadable_kind(data[:512]):
        raise error("{path} is {known}", path=path, known=known)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as failure:
        raise error(
            "{path} cannot be read: it is not text in UTF-8 (byte {data:#04x} at "
            "{start:,}); convert it to UTF-8, or download it again",
            path=path,
            data=data[failure.start],
            start=failure.start,
        ) from None


def _refuse_other_kinds(path: Path, found: os.stat_result, error: type[CpmError]) -> None:
    if not stat.S_ISREG(found.st_mode):
        kind = next(
            (tr(name) for test, name in KINDS if test(found.st_mode)), tr("of another kind")
        )
        raise error("{path} is {kind}; expected a regular file", path=path, kind=kind)
