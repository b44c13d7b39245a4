"""Files that are memory-mapped: notices when one is truncated or written to while it is in use.

Knows mappings and the state of their files; does not know formats. A mapped file may be deleted, or
another one renamed over it: the mapping keeps the old file. It must not be written in place: the
values change under the reader, and pages beyond a new end raise SIGBUS, which ends the process.
"""

from __future__ import annotations

import mmap
import os
import weakref
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import BinaryIO

import numpy as np

from cpm_lm.checkpoints.dtypes import Array
from cpm_lm.errors import CheckpointError
from cpm_lm.languages import tr

__all__ = ["MappedFile", "mapped_files", "watch"]


class MappedFile:
    """A mapped file and what it was when it was mapped.

    Args:
        mapped: the whole file.
        file: the open file; its descriptor is duplicated.
        path: the file's name for messages.
    """

    def __init__(self, mapped: mmap.mmap, file: BinaryIO, path: Path) -> None:
        self.path = path
        self._mapped = weakref.ref(mapped)
        self._descriptor = os.dup(file.fileno())
        _at_end_of(mapped, os.close, self._descriptor)
        state = os.fstat(self._descriptor)
        self._size, self._time = state.st_size, state.st_mtime_ns

    def check(self) -> None:
        """Check that the file is as it was, unless it is no longer mapped; takes microseconds.

        The open file is asked, not its name, which may be another file's by now.

        Raises:
            CheckpointError: it was truncated or written to.
        """
        if self._mapped() is None:
            return
        try:
            now = os.fstat(self._descriptor)
        except OSError as error:  # a network file system has lost it
            raise CheckpointError(
                "{path} can no longer be read: {strerror}; load the model again",
                path=self.path,
                strerror=error.strerror,
            ) from None
        if now.st_size < self._size:
            raise CheckpointError(
                "{path} was truncated while in use: it had {size:,} bytes and has "
                "{st_size:,}; restore it and load the model again",
                path=self.path,
                size=self._size,
                st_size=now.st_size,
            )
        if (now.st_size, now.st_mtime_ns) != (self._size, self._time):
            raise CheckpointError(
                "{path} was written to while in use, so its values are not those that "
                "were loaded; load the model again, and replace a file by renaming "
                "another one over it",
                path=self.path,
            )


_FILES: weakref.WeakKeyDictionary[mmap.mmap, MappedFile] = weakref.WeakKeyDictionary()


def watch(mapped: mmap.mmap, file: BinaryIO, path: Path) -> None:
    """Remember what a file is when it is mapped, and have its name said if reading it fails.

    The line comes from a handler of SIGBUS in the kernels, if this installation has them. It is for
    this mapping only: the process then ends, or goes on, as if there were no such handler.
    """
    _FILES[mapped] = MappedFile(mapped, file, path)
    try:
        from cpm_lm import _native as native
    except ImportError:
        return
    number = native.watch_mapping(
        mapped,
        "cpm: "
        + tr(
            "{path} was truncated while in use, or its disk fails; restore it and run again",
            path=_shown(path),
        )
        + "\n",
    )
    _at_end_of(mapped, native.unwatch_mapping, number)


def mapped_files(arrays: Iterable[Array]) -> tuple[MappedFile, ...]:
    """Return the watched files that arrays are views of, each once."""
    found: dict[int, MappedFile] = {}
    for array in arrays:
        base: object = array
        while isinstance(base, np.ndarray):
            base = base.base
        if isinstance(base, memoryview):
            base = base.obj
        if isinstance(base, mmap.mmap) and (file := _FILES.get(base)) is not None:
            found[id(file)] = file
    return tuple(found.values())


def _at_end_of(mapped: mmap.mmap, function: Callable[[int], object], number: int) -> None:
    """Call a function when a mapping ends, but not for those that last until Python ends."""
    weakref.finalize(mapped, function, number).atexit = False


def _shown(path: Path) -> str:
    """Return the end of a path's name for a terminal, in characters that UTF-8 can hold."""
    name = os.fsencode(path).decode("utf-8", "replace")[-200:]
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in name)
