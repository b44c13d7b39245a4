"""A hidden directory that this program made, that one process holds, and that it may empty.

Knows how such a directory is recognized: it is a directory and no link, belongs to this user, and
holds a file whose name is `owner-` and the directory's own inode number, so that a copy, or one out
of an archive, is not taken for ours. That file is locked as long as the process lives.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

from cpm_lm.languages import tr
from cpm_lm.storage.directory import Directory, is_ours, quietly_closed
from cpm_lm.storage.locks import try_lock

__all__ = ["BusyError", "NotOursError", "Owned", "owned"]

ATTEMPTS = 50
"""How often to begin again if another process removes the directory at the same time."""


class BusyError(OSError):
    """Another process holds the directory."""


class NotOursError(OSError):
    """The name is taken by a link, a file or a directory that this program did not make."""


class Owned(Directory):
    """The directory, open and locked."""

    def __init__(self, directory: Directory, marker: str, lock: int) -> None:
        super().__init__(directory.path, directory.descriptor)
        self._marker, self._lock = marker, lock

    def empty(self) -> None:
        """Remove everything that an earlier process left."""
        self.clear(frozenset({self._marker}))

    def remove_from(self, parent: Directory) -> None:
        """Remove the directory; another process that has begun to use it keeps it."""
        self.empty()
        if os.name == "nt":
            quietly_closed(self._lock)  # Windows removes no open file
        self.unlink(self._marker)
        with contextlib.suppress(OSError):
            parent.rmdir(self.path.name)

    def close(self) -> None:
        """Release the lock and close the directory."""
        if os.name != "nt":
            quietly_closed(self._lock)
        super().close()


@contextmanager
def owned(parent: Directory, name: str, *, create: bool = True) -> Iterator[Owned | None]:
    """Hold the directory `name` in `parent` during the block, then remove it with its content.

    It may hold what a killed process left there.

    Args:
        parent: where it is.
        name: its name.
        create: whether to make it; otherwise None is yielded if there is none.

    Raises:
        BusyError: another process holds it.
        NotOursError: the name is taken by something else.
        OSError: the directory cannot be made.
    """
    held = _acquire(parent, name, create)
    if held is None:
        yield None
        return
    with held:
        try:
            yield held
        finally:
            # What cannot be removed now is removed by the next process that uses this name.
            with contextlib.suppress(OSError):
                held.remove_from(parent)


def _acquire(parent: Directory, name: str, create: bool) -> Owned | None:
    for _ in range(ATTEMPTS):
        made = create and parent.mkdir(name, 0o700)
        if not made and parent.status(name) is None:
            if not create:
                return None
            continue
        try:
            held = _claim(parent, name, made)
        except FileNotFoundError:  # its owner removes it at this moment
            continue
        except BaseException:
            if made:
                with contextlib.suppress(OSError):
                    parent.rmdir(name)
            raise
        if held is not None:
            return held
    raise BusyError(tr("{path} is in use by another process", path=parent.path / name))


def _claim(parent: Directory, name: str, made: bool) -> Owned | None:
    """Return the locked directory; None if it is no longer there under this name."""
    with contextlib.ExitStack() as stack:
        try:
            directory = stack.enter_context(parent.child(name))
        except FileNotFoundError:
            raise
        except OSError as error:  # a link, a file, or closed to this user
            if made:
                raise
            raise NotOursError(
                tr(
                    "{path} is in the way ({strerror})",
                    path=parent.path / name,
                    strerror=error.strerror,
                )
            ) from None
        marker = _marker(directory, made)
        if marker is None:  # empty: a process was killed before it made its mark
            _remove_empty(parent, name)
            return None
        lock = directory.open_file(marker, os.O_RDWR | os.O_CREAT)
        stack.callback(quietly_closed, lock)
        if made and not is_ours(directory.own_status()):
            _check_same_owner(directory, lock)
        if not _locked(lock, made):
            raise BusyError(tr("{path} is in use by another process", path=directory.path))
        in_place = _is_at(parent, name, directory.own_status())
        if in_place and _is_at(directory, marker, os.fstat(lock)):
            stack.pop_all()
            return Owned(directory, marker, lock)
    return None


def _remove_empty(parent: Directory, name: str) -> None:
    """Remove an empty directory, unless its maker has just put its mark into it."""
    try:
        parent.rmdir(name)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise


def _marker(directory: Directory, made: bool) -> str | None:
    """Return the name of the mark; None for an empty directory of ours that has none.

    Raises:
        NotOursError: the directory is another user's, or this program did not make it.
    """
    status = directory.own_status()
    marker = f"owner-{status.st_ino:x}"
    if made:
        return marker
    names = directory.names()
    if not is_ours(status) or (names and marker not in names):
        raise NotOursError(
            tr(
                "{path} is in the way: this program did not make it",
                path=directory.path,
            )
        )
    return marker if names else None


def _check_same_owner(directory: Directory, lock: int) -> None:
    """Accept a file system that gives all files to one other user, and nothing else."""
    if os.fstat(lock).st_uid != directory.own_status().st_uid:
        raise NotOursError(
            tr(
                "{path} is in the way: it belongs to another user",
                path=directory.path,
            )
        )


def _locked(lock: int, made: bool) -> bool:
    """Lock the mark. Without locks in the file system, only a directory made just now is ours."""
    try:
        return try_lock(lock)
    except OSError:
        return made


def _is_at(parent: Directory, name: str, status: os.stat_result) -> bool:
    """Return whether a name is still that of an open file or directory."""
    found = parent.status(name)
    return found is not None and os.path.samestat(found, status)
