"""The checksums that zip archives record, compared with what a file holds.

Knows the entries of an archive; does not know what they hold.
"""

from __future__ import annotations

import mmap
import zlib
from collections.abc import Callable
from pathlib import Path

from cpm_lm.checkpoints.containers.zip_directory import Entry, read_directory
from cpm_lm.checkpoints.text import one_line
from cpm_lm.errors import CheckpointError

__all__ = ["LazyCheck", "check_entry", "read_entries"]


def read_entries(path: Path, mapped: mmap.mmap) -> dict[str, Entry]:
    """Return the entries of an archive by name.

    Raises:
        CheckpointError: its directory is missing, damaged, or disagrees with the file.
    """
    try:
        return read_directory(mapped)
    except ValueError as error:
        raise CheckpointError(
            "{path} is truncated or damaged: it has {n_mapped:,} bytes ({error}); "
            "download it again",
            path=path,
            n_mapped=len(mapped),
            error=one_line(error),
        ) from None


def check_entry(
    path: Path, mapped: mmap.mmap, entry: Entry, named: Callable[[], str] = lambda: ""
) -> None:
    """Compare the content of one entry with its recorded checksum.

    Args:
        path: the file, for errors.
        mapped: its content.
        entry: the entry.
        named: returns what the entry is, for an error.

    Raises:
        CheckpointError: they differ.
    """
    # PyTorch can be told to record none; it writes 0 then.
    if not entry.crc:
        return
    with memoryview(mapped) as view, view[entry.start : entry.start + entry.size] as content:
        found = zlib.crc32(content)
    if found != entry.crc:
        what = one_line(entry.name, 80)
        known = named()
        raise CheckpointError(
            "{path} is damaged: {what} differs from its checksum (CRC32); download it again",
            path=path,
            what=f"{what} ({known})" if known else what,
        )


class LazyCheck:
    """Compares an entry when its values are first used, because that reads all of them."""

    __slots__ = ("_entry", "_mapped", "_named", "_path")

    def __init__(
        self, path: Path, mapped: mmap.mmap, entry: Entry, named: Callable[[], str]
    ) -> None:
        """Note what is to be compared.

        Args:
            path: the file, for errors.
            mapped: its content.
            entry: the entry.
            named: returns what the entry is, for an error.
        """
        self._path, self._mapped, self._named = path, mapped, named
        self._entry: Entry | None = entry

    def __call__(self) -> None:
        """Compare, the first time.

        Raises:
            CheckpointError: the content differs from its checksum.
        """
        if self._entry is not None:
            check_entry(self._path, self._mapped, self._entry, self._named)
            self._entry = None
