"""An open directory: names in it are used by its descriptor, and a link at a name is not followed.

Knows the system's calls; does not know what the names mean. Windows has no descriptors of
directories: there the same calls take whole paths.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from pathlib import Path

__all__ = ["Directory", "is_ours"]

BY_DESCRIPTOR = os.open in os.supports_dir_fd and os.name != "nt"
NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
DIRECTORY = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0)
ALL_OURS = 0o700
"""The permissions that removing the content of a directory needs."""


def is_ours(status: os.stat_result) -> bool:
    """Return whether a file or a directory belongs to this user; always true on Windows."""
    return os.name == "nt" or status.st_uid == os.geteuid()


class Directory:
    """An open directory; close it, or use it in a `with` statement.

    Attributes:
        path: the path by which it was opened, for messages and for code that needs a path.
    """

    def __init__(self, path: Path, descriptor: int | None) -> None:
        self.path = path
        self._fd = descriptor

    @classmethod
    def open(cls, path: Path) -> Directory:
        """Open a directory that the user named; links in the path are followed.

        Raises:
            OSError: it does not exist, is not a directory, or cannot be read.
        """
        if not BY_DESCRIPTOR:
            if not path.is_dir():
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))
            return cls(path, None)
        return cls(path, os.open(path, DIRECTORY))

    def child(self, name: str) -> Directory:
        """Open a directory in this one; a link is refused.

        Raises:
            OSError: it does not exist, is not a directory, or is a link.
        """
        path = self.path / name
        if self._fd is None:
            status = path.lstat()
            if not stat.S_ISDIR(status.st_mode) or path.is_symlink() or _is_junction(status):
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))
            return Directory(path, None)
        return Directory(path, os.open(name, DIRECTORY | NO_FOLLOW, dir_fd=self._fd))

    def __enter__(self) -> Directory:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the descriptor."""
        if self._fd is not None:
            descriptor, self._fd = self._fd, None
            os.close(descriptor)

    @property
    def descriptor(self) -> int | None:
        """The open descriptor; None on Windows."""
        return self._fd

    def _at(self, name: str) -> str:
        return name if self._fd is not None else str(self.path / name)

    def own_status(self) -> os.stat_result:
        """Return the status of this directory."""
        return self.path.lstat() if self._fd is None else os.fstat(self._fd)

    def status(self, name: str) -> os.stat_result | None:
        """Return the status of a name, of a link itself; None if there is none."""
        try:
            return os.stat(self._at(name), dir_fd=self._fd, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def names(self) -> list[str]:
        """Return all names, sorted."""
        return sorted(os.listdir(self.path if self._fd is None else self._fd))  # noqa: PTH208

    def open_file(self, name: str, flags: int, mode: int = 0o600) -> int:
        """Open a file and return its descriptor; a link is refused, a FIFO does not block.

        Raises:
            OSError: the file cannot be opened, or is a link.
        """
        if self._fd is None and (self.path / name).is_symlink():
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(self.path / name))
        flags |= NO_FOLLOW | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        return os.open(self._at(name), flags, mode, dir_fd=self._fd)

    def mkdir(self, name: str, mode: int) -> bool:
        """Make a directory; return False if the name exists."""
        try:
            os.mkdir(self._at(name), mode, dir_fd=self._fd)
        except FileExistsError:
            return False
        return True

    def rename(self, name: str, to: Directory, new: str) -> None:
        """Rename; an existing file, or an empty directory where the system does that, is replaced.

        Raises:
            OSError: the system refuses it.
        """
        os.replace(self._at(name), to._at(new), src_dir_fd=self._fd, dst_dir_fd=to._fd)

    def rename_new(self, name: str, to: Directory, new: str) -> None:
        """Rename a file to a name that is free; rarely, the old name stays as a second one.

        Raises:
            FileExistsError: the name is taken.
            OSError: the system refuses it.
        """
        try:
            os.link(
                self._at(name),
                to._at(new),
                src_dir_fd=self._fd,
                dst_dir_fd=to._fd,
                follow_symlinks=False,
            )
        except FileExistsError:
            raise
        except (OSError, NotImplementedError):  # a file system without second names
            if to.status(new) is not None:
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), new) from None
            self.rename(name, to, new)
        else:
            with contextlib.suppress(OSError):  # then the old name goes with its directory
                self.unlink(name)

    def symlink(self, content: str, name: str) -> None:
        """Make a symbolic link.

        Raises:
            OSError: the name exists, or the file system has no links.
        """
        os.symlink(content, self._at(name), dir_fd=self._fd)

    def unlink(self, name: str) -> None:
        """Remove a file or a link."""
        os.unlink(self._at(name), dir_fd=self._fd)

    def rmdir(self, name: str) -> None:
        """Remove an empty directory."""
        os.rmdir(self._at(name), dir_fd=self._fd)

    def sync(self) -> None:
        """Flush the names to the disk, where the system can."""
        if self._fd is not None:
            os.fsync(self._fd)

    def sync_all(self) -> None:
        """Flush all files and names below to the disk; a file without permissions is left out."""
        for name in self.names():
            status = self.status(name)
            if status is not None and stat.S_ISDIR(status.st_mode):
                with self.child(name) as inner:
                    inner.sync_all()
            elif status is not None and stat.S_ISREG(status.st_mode):
                # Windows flushes only a file that is open for writing.
                descriptor = self.open_file(name, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
                try:
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)
        self.sync()

    def remove(self, name: str) -> None:
        """Remove a file, a link, or a directory with all its content; no link is followed."""
        status = self.status(name)
        if status is None:
            return
        if not stat.S_ISDIR(status.st_mode):
            if os.name == "nt":
                (self.path / name).chmod(stat.S_IWRITE)  # else a read-only file is kept
            self.unlink(name)
            return
        if is_ours(status) and status.st_mode & ALL_OURS != ALL_OURS:
            os.chmod(self._at(name), ALL_OURS, dir_fd=self._fd)  # a directory, not a link
        with self.child(name) as inner:
            inner.clear()
        self.rmdir(name)

    def clear(self, keep: frozenset[str] = frozenset()) -> None:
        """Remove everything in this directory except the names in `keep`.

        Raises:
            OSError: something cannot be removed; the rest is removed before.
        """
        first: OSError | None = None
        for name in self.names():
            if name not in keep:
                try:
                    self.remove(name)
                except OSError as error:
                    first = first or error
        if first is not None:
            raise first


def _is_junction(status: os.stat_result) -> bool:
    """Return whether a directory of Windows is a reparse point, which is a link of another kind."""
    attributes: int = getattr(status, "st_file_attributes", 0)
    return bool(attributes & getattr(stat, "FILE_ATTRIBUTE_REPARSE_POINT", 0))


def quietly_closed(descriptor: int) -> None:
    """Close a descriptor; an error of a file that is given up does not matter."""
    with contextlib.suppress(OSError):
        os.close(descriptor)
