"""The checksums that zip archives record: compared with what a file holds, in one pass.

Knows the entries of an archive; does not know what they hold. A conversion reads each source once
from beginning to end for its digest; `Checksums` takes the same chunks, so that nothing is read
twice for it.
"""

from __future__ import annotations

import mmap
import zlib
from pathlib import Path

from cpm_lm.checkpoints.containers.opened import map_file
from cpm_lm.checkpoints.containers.zip_directory import Entry, read_directory
from cpm_lm.checkpoints.text import one_line
from cpm_lm.errors import CheckpointError

__all__ = ["ZIP_START", "Checksums", "check_entry", "read_entries"]

ZIP_START = b"PK\x03\x04"


def read_entries(path: Path, mapped: mmap.mmap) -> dict[str, Entry]:
    """Return the entries of an archive by name.

    Raises:
        CheckpointError: its directory is missing, damaged, or disagrees with the file.
    """
    try:
        return read_directory(mapped)
    except ValueError as error:
        raise CheckpointError(
            f"{path} is truncated or damaged: it has {len(mapped):,} bytes ({one_line(error)}); "
            "download it again"
        ) from None


def check_entry(path: Path, mapped: mmap.mmap, entry: Entry) -> None:
    """Compare the content of one entry with its recorded checksum.

    Raises:
        CheckpointError: they differ.
    """
    with memoryview(mapped) as view, view[entry.start : entry.start + entry.size] as content:
        found = zlib.crc32(content)
    # PyTorch can be told to record none; it writes 0 then.
    if entry.crc and found != entry.crc:
        raise CheckpointError(_differs(path, entry.name))


class Checksums:
    """Compares all entries of an archive, while the file is read from beginning to end."""

    def __init__(self, path: Path) -> None:
        """Read the directory of a file; any other file has no entries, and is not checked.

        Raises:
            CheckpointError: the file or its directory cannot be read.
        """
        self._path = path
        self._at = 0
        self._crc = 0
        mapped = map_file(path)
        found = read_entries(path, mapped).values() if mapped[:4] == ZIP_START else ()
        plain = (entry for entry in found if entry.plain and entry.crc and entry.size)
        self._entries = sorted(plain, key=lambda entry: entry.start, reverse=True)

    def update(self, chunk: bytes) -> None:
        """Take the next bytes of the file.

        Raises:
            CheckpointError: the content of an entry differs from its checksum; it is named.
        """
        begin, end = self._at, self._at + len(chunk)
        view = memoryview(chunk)
        while self._entries and self._entries[-1].start < end:
            entry = self._entries[-1]
            last = entry.start + entry.size
            part = view[max(0, entry.start - begin) : min(last, end) - begin]
            self._crc = zlib.crc32(part, self._crc)
            if last > end:
                break
            if self._crc != entry.crc:
                raise CheckpointError(_differs(self._path, entry.name))
            self._crc = 0
            self._entries.pop()
        self._at = end


def _differs(path: Path, name: str) -> str:
    return (
        f"{path} is damaged: the content of {one_line(name, 80)} differs from its checksum "
        "(CRC32); download it again"
    )
