"""Read the directory of a zip archive: where each entry lies, checked against the file.

Knows the zip format with its 64-bit fields; does not know what entries hold, and unpacks nothing.
The directory is checked as a whole: every entry lies where it says, none overlaps another, and no
name occurs twice, so that each byte of the file has one meaning. Source: PKWARE's APPNOTE.TXT.
"""

from __future__ import annotations

import itertools
import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from cpm_lm.checkpoints.text import one_line
from cpm_lm.languages import tr

__all__ = ["Entry", "read_directory"]

END = b"PK\x05\x06"
END_BYTES = 22
END64 = b"PK\x06\x06"
LOCATOR64 = b"PK\x06\x07"
LOCATOR_BYTES = 20
CENTRAL = struct.Struct("<4s6H3L5H2L")
LOCAL = struct.Struct("<4s5H3L2H")
MAX_COMMENT = 65535
UNKNOWN = 0xFFFFFFFF
"""In a 32-bit field: the number is in the 64-bit extra field."""
UTF8_FLAG = 1 << 11


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of an archive."""

    name: str
    start: int
    """The offset of its content in the file."""
    size: int
    """The size of its content in bytes."""
    crc: int
    """The CRC32 of its content as recorded; some writers record 0 for all entries."""
    plain: bool
    """Whether it is neither compressed nor encrypted."""


def read_directory(data: mmap.mmap) -> dict[str, Entry]:
    """Return the entries of an archive by name.

    Raises:
        ValueError: the directory is missing or damaged, or disagrees with the rest of the file.
    """
    begin, end, count = _find_directory(data)
    entries: dict[str, Entry] = {}
    places: list[tuple[int, int]] = []
    at = begin
    for _ in range(count):
        entry, place, at = _entry(data, at, begin, end)
        if entry.name in entries:
            raise ValueError(tr("it holds {entry_name} twice", entry_name=one_line(entry.name, 80)))
        entries[entry.name] = entry
        places.append(place)
    if at != end:
        raise ValueError(tr("its directory is longer than its entries"))
    places.sort()
    for (_, first_end), (second, _) in itertools.pairwise(places):
        if second < first_end:
            raise ValueError(tr("its entries overlap"))
    return entries


def _find_directory(data: mmap.mmap) -> tuple[int, int, int]:
    """Return where the directory begins and ends, and how many entries it has."""
    at = _find_end(data)
    disks = data[at + 4 : at + 8]
    numbers = struct.unpack("<2H2L", data[at + 8 : at + 20])
    end = at
    locator = data[max(0, at - LOCATOR_BYTES) : at]
    if len(locator) == LOCATOR_BYTES and locator[:4] == LOCATOR64:  # torch.save always writes it
        end, disks, wide = _find_end64(data, locator, at)
        limits = (0xFFFF, 0xFFFF, UNKNOWN, UNKNOWN)
        same = all(n in (w, most) for n, w, most in zip(numbers, wide, limits, strict=True))
        if not same or data[at + 4 : at + 8].strip(b"\0\xff"):
            raise ValueError(tr("the two records of its directory disagree"))
        numbers = wide
    count, total, size, begin = numbers
    if disks.strip(b"\0") or count != total:
        raise ValueError(tr("it is one part of several"))
    if begin + size != end:
        raise ValueError(tr("its directory is not at its recorded offset"))
    if count * CENTRAL.size > size:
        raise ValueError(
            tr(
                "its directory has {size:,} bytes, too few for {count:,} entries",
                size=size,
                count=count,
            )
        )
    return begin, end, count


def _find_end(data: mmap.mmap) -> int:
    """Return the offset of the record at the end of the file, which a comment may follow."""
    at = len(data)
    while True:
        at = data.rfind(END, max(0, len(data) - END_BYTES - MAX_COMMENT), at)
        if at < 0:
            raise ValueError(tr("the directory at its end is missing"))
        if len(data) - at >= END_BYTES:
            comment = int.from_bytes(data[at + 20 : at + 22], "little")
            if at + END_BYTES + comment == len(data):
                return at


def _find_end64(data: mmap.mmap, locator: bytes, end: int) -> tuple[int, bytes, tuple[int, ...]]:
    """Return the offset, the disks and the numbers of the record with 64-bit fields."""
    at = int.from_bytes(locator[8:16], "little")
    record = data[at : at + 56] if at + 56 <= end - LOCATOR_BYTES else b""
    if record[:4] != END64:
        raise ValueError(tr("the 64-bit record of its directory is not at its recorded offset"))
    return at, record[16:24], struct.unpack("<4Q", record[24:56])


def _entry(data: mmap.mmap, at: int, begin: int, end: int) -> tuple[Entry, tuple[int, int], int]:
    """Return an entry, the range of the file that it takes, and where the next one is described."""
    if at + CENTRAL.size > end:
        raise ValueError(tr("its directory is cut off"))
    found = CENTRAL.unpack(data[at : at + CENTRAL.size])
    flags, method = found[3:5]
    crc, packed, size, name_size, extra_size, comment_size, _, _, _, header = found[7:]
    name_at = at + CENTRAL.size
    extra_at = name_at + name_size
    after = extra_at + extra_size + comment_size
    if found[0] != b"PK\x01\x02" or after > end:
        raise ValueError(tr("its directory is damaged"))
    raw = data[name_at:extra_at]
    name = _decoded(raw, flags)
    shown = one_line(name, 80)
    size, packed, header = _wide(data[extra_at : extra_at + extra_size], size, packed, header)
    start = _content(data, raw, header, begin)
    if start is None:
        raise ValueError(tr("{shown} is not at its recorded offset", shown=shown))
    if start + packed > begin:
        raise ValueError(tr("{shown} ends after the directory begins", shown=shown))
    plain = method == 0 and not flags & 1
    if plain and size != packed:
        raise ValueError(tr("{shown} has two sizes", shown=shown))
    return Entry(name, start, size, crc, plain), (header, start + packed), after


def _wide(extra: bytes, *fields: int) -> Iterator[int]:
    """Yield the fields, those that are unknown from the 64-bit extra field in this order."""
    wide = b""
    at = 0
    while at + 4 <= len(extra):
        kind, size = struct.unpack_from("<2H", extra, at)
        if kind == 1:
            wide = extra[at + 4 : at + 4 + size]
        at += 4 + size
    for value in fields:
        if value != UNKNOWN:
            yield value
        elif len(wide) >= 8:
            yield int.from_bytes(wide[:8], "little")
            wide = wide[8:]
        else:
            raise ValueError(tr("a 64-bit field of its directory is missing"))


def _content(data: mmap.mmap, name: bytes, header: int, begin: int) -> int | None:
    """Return where an entry's content begins: after its own header, which repeats the name.

    The header's extra field may differ from that of the directory. None where there is no header.
    """
    if header + LOCAL.size <= begin:
        found = LOCAL.unpack(data[header : header + LOCAL.size])
        name_at = header + LOCAL.size
        start = name_at + found[9] + found[10]
        if found[0] == b"PK\x03\x04" and data[name_at : name_at + found[9]] == name:
            return start
    return None


def _decoded(raw: bytes, flags: int) -> str:
    try:
        return raw.decode("utf-8" if flags & UTF8_FLAG else "cp437")
    except UnicodeDecodeError:
        raise ValueError(
            tr("the name of an entry of {n_raw:,} bytes is not UTF-8", n_raw=len(raw))
        ) from None
