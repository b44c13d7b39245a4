"""Files of this program at a known name: open them without following links, replace them whole.

Knows names, owners and locks; does not know what is in the files.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import stat
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from cpm_lm.languages import tr
from cpm_lm.storage.directory import Directory, is_ours, quietly_closed
from cpm_lm.storage.locks import try_lock
from cpm_lm.storage.owned import BusyError, NotOursError

__all__ = ["open_partial", "private_directory", "read_private", "replace_file"]

RANDOM = 4
"""Random bytes in a temporary name."""


def private_directory(path: Path) -> Directory:
    """Open a directory of the user's, made if there is none, that is closed to all others (0700).

    On Windows the access list of the user's folder closes it.

    Raises:
        OSError: it cannot be made, is a link, another user's, or open to others.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with Directory.open(path.parent) as parent:
        parent.mkdir(path.name, 0o700)
        directory = parent.child(path.name)
    if not _is_trusted(directory.own_status(), stat.S_ISDIR, 0o077):
        directory.close()
        raise NotOursError(tr("{path} belongs to another user, or others can write it", path=path))
    return directory


def read_private(directory: Directory, name: str) -> BinaryIO:
    """Open a file that only this user can have written.

    Raises:
        OSError: there is none, it is a link, another user's, or others can write it.
    """
    descriptor = directory.open_file(name, os.O_RDONLY)
    if not _is_trusted(os.fstat(descriptor), stat.S_ISREG, 0o022):
        os.close(descriptor)
        raise NotOursError(
            tr(
                "{path} belongs to another user, or others can write it",
                path=directory.path / name,
            )
        )
    return os.fdopen(descriptor, "rb")


def replace_file(directory: Directory, name: str, write: Callable[[BinaryIO], object]) -> None:
    """Write a file under a random name, then rename it, so that it is there whole or not at all.

    Files that killed processes left are removed.

    Raises:
        OSError: the disk is full or not writable; the old file is still there.
    """
    _remove_left(directory, name)
    temporary = f"{name}.{secrets.token_hex(RANDOM)}.tmp"
    descriptor = directory.open_file(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    try:
        with os.fdopen(descriptor, "wb") as file:
            with contextlib.suppress(OSError):
                try_lock(descriptor)
            write(file)
            file.flush()
            if os.name != "nt":
                directory.rename(temporary, directory, name)  # still locked
        if os.name == "nt":
            directory.rename(temporary, directory, name)
    except BaseException:
        with contextlib.suppress(OSError):
            directory.unlink(temporary)
        raise


def _remove_left(directory: Directory, name: str) -> None:
    pattern = re.compile(rf"{re.escape(name)}\.[0-9a-f]{{{2 * RANDOM}}}\.tmp")
    for left in directory.names():
        if not pattern.fullmatch(left):
            continue
        with contextlib.suppress(OSError):
            descriptor = directory.open_file(left, os.O_RDWR)
            try:
                if _is_trusted(os.fstat(descriptor), stat.S_ISREG, 0o022) and try_lock(descriptor):
                    directory.unlink(left)
            finally:
                quietly_closed(descriptor)


def open_partial(directory: Directory, name: str) -> BinaryIO:
    """Open a file that grows over several runs, made if there is none, and lock it.

    Raises:
        BusyError: another process writes it.
        NotOursError: it is a link, not a regular file, another user's, or has a second name.
        OSError: it cannot be opened.
    """
    where = directory.path / name
    try:
        descriptor = directory.open_file(name, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EMLINK, errno.EISDIR, errno.ENXIO):
            raise NotOursError(
                tr("{where} is not a file that this program wrote", where=where)
            ) from None
        raise
    try:
        status = os.fstat(descriptor)
        if not _is_trusted(status, stat.S_ISREG, 0) or status.st_nlink != 1:
            raise NotOursError(tr("{where} is not a file that this program wrote", where=where))
        if not _locked(descriptor):
            raise BusyError(tr("{where} is being written by another process", where=where))
    except BaseException:
        quietly_closed(descriptor)
        raise
    return os.fdopen(descriptor, "rb+")


def _locked(descriptor: int) -> bool:
    try:
        return try_lock(descriptor)
    except OSError:  # a network file system without locks; the digest shows a mixture
        return True


def _is_trusted(status: os.stat_result, is_kind: Callable[[int], bool], forbidden: int) -> bool:
    """Return whether a file is of a kind, is this user's, and has no forbidden permission."""
    if os.name == "nt":
        return is_kind(status.st_mode)
    return is_kind(status.st_mode) and is_ours(status) and not status.st_mode & forbidden
