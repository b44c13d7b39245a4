"""Handmade zip archives: a good shard whose directory or entries were changed, and the verdict."""

from __future__ import annotations

import functools
import io
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

from tests.hostile.harness import Case
from tests.hostile.torch_files import NAME, model, text, write_zip

__all__ = ["CASES", "CENTRAL", "END", "LOCAL", "good", "raw_archive"]

CENTRAL, LOCAL, END = b"PK\x01\x02", b"PK\x03\x04", b"PK\x05\x06"
RECORD = b"\x80\x02}" + text("module") + model()[0] + b"s."
Edit = Callable[[bytearray], bytearray]


@functools.cache
def good(wide: bool = True) -> bytes:
    """A shard; `wide` adds the 64-bit records that torch.save writes."""
    out = io.BytesIO()
    write_zip(out, RECORD, model()[1])
    data = out.getvalue()
    at = data.rindex(END)
    count, size, begin = struct.unpack("<H2L", data[at + 10 : at + 20])
    if not wide:
        return data
    return data[:at] + wide_end(count, size, begin) + data[at:]


def wide_end(count: int, size: int, begin: int) -> bytes:
    """Return the record with 64-bit fields that follows a directory, and its locator."""
    record = b"PK\x06\x06" + struct.pack("<QHHLLQQQQ", 44, 45, 45, 0, 0, count, count, size, begin)
    return record + b"PK\x06\x07" + struct.pack("<LQL", 0, begin + size, 1)


def central(data: bytes | bytearray, name: str) -> int:
    """Return where the directory describes an entry."""
    return data.index(name.encode(), data.index(CENTRAL)) - 46


def put(field: int, format_: str, *values: int, of: str = "x/data/3") -> Edit:
    """Change a field of the directory's description of an entry."""

    def edit(data: bytearray) -> bytearray:
        struct.pack_into(format_, data, central(data, of) + field, *values)
        return data

    return edit


def put_end(field: int, format_: str, *values: int) -> Edit:
    def edit(data: bytearray) -> bytearray:
        struct.pack_into(format_, data, data.rindex(END) + field, *values)
        return data

    return edit


def put_wide(field: int, format_: str, *values: int) -> Edit:
    def edit(data: bytearray) -> bytearray:
        struct.pack_into(format_, data, data.rindex(b"PK\x06\x06") + field, *values)
        return data

    return edit


def renamed(old: bytes, new: bytes) -> Edit:
    return lambda data: data.replace(old, new)


def utf8_flag(data: bytearray) -> bytearray:
    data = bytearray(data.replace(b"x/data/3", b"x/data/\xff"))
    at = data.index(b"x/data/\xff", data.index(CENTRAL)) - 46
    struct.pack_into("<H", data, at + 8, 1 << 11)
    return data


def second_local_name(data: bytearray) -> bytearray:
    at = data.index(b"x/data/3")
    data[at : at + 8] = b"x/data/x"
    return data


def without_checksums(data: bytearray) -> bytearray:
    at = data.index(CENTRAL)
    while (at := data.find(CENTRAL, at)) >= 0:
        data[at + 16 : at + 20] = bytes(4)
        at += 46
    return data


def flipped(of: str) -> Edit:
    """Change one bit of an entry's content."""

    def edit(data: bytearray) -> bytearray:
        size, header = struct.unpack_from("<L14xL", data, central(data, of) + 24)
        start = header + 30 + sum(struct.unpack_from("<2H", data, header + 26))
        data[start + size // 2] ^= 1
        return data

    return edit


def archive(*entries: tuple[str, bytes], **how: int) -> Callable[[], bytes]:
    def make() -> bytes:
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", **how) as made:  # type: ignore[call-overload]
            for name, data in entries:
                made.writestr(name, data)
        return out.getvalue()

    return make


def two_names() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as made:
        made.writestr("x/data.pkl", RECORD)
        made.writestr("x/data.pk2", RECORD)
    return out.getvalue().replace(b"x/data.pk2", b"x/data.pkl")


def raw_archive(names: list[bytes], sizes: list[int], content: bytes = b"") -> bytes:
    """Headers of entries one after the other, and one content behind the last."""
    parts, directory, at = [], [], 0
    for name, size in zip(names, sizes, strict=True):
        head = (20, 0, 0, 0, 33, 0, size, size, len(name), 0)
        parts.append(struct.pack("<4s5H3L2H", LOCAL, *head) + name)
        entry = (20, *head, 0, 0, 0, 0, at)
        directory.append(struct.pack("<4s6H3L5H2L", CENTRAL, *entry) + name)
        at += len(parts[-1])
    held = b"".join(directory)
    begin, short = at + len(content), min(len(names), 0xFFFF)
    end = struct.pack("<4s4H2LH", END, 0, 0, short, short, len(held), begin, 0)
    if len(names) > short:
        end = wide_end(len(names), len(held), begin) + end
    return b"".join(parts) + content + held + end


def overlapping() -> bytes:
    """Entries that share one content, as in a zip bomb: the last lies within all others."""
    names = [b"x/%c" % letter for letter in range(65, 91)]
    return raw_archive(names, [33 * (25 - n) + 1000 for n in range(26)], bytes(1000))


DAMAGED = "is truncated or damaged"
PLACE = "directory is not at its recorded offset"
CHANGED: list[tuple[str, Edit, str | None]] = [
    ("unchanged", lambda data: data, None),
    ("a directory before the file", put_end(16, "<L", 0xFFFFFF00), "its directory disagree"),
    ("a wide directory before the file", put_wide(48, "<q", -300), "disagree"),
    ("a wide directory beyond the file", put_wide(48, "<Q", 1 << 63), "disagree"),
    ("a wide directory of 2^64", put_wide(40, "<Q", (1 << 64) - 1), "disagree"),
    ("both before the file", lambda d: put_end(16, "<L", 0xFFFFFFFF)(put_wide(48, "<q", -300)(d)),
     PLACE),
    ("2^63 entries", put_wide(24, "<QQ", 1 << 63, 1 << 63), "disagree"),
    ("a wide record elsewhere", lambda d: d.replace(b"PK\x06\x06", b"PK\x06\x08"), "64-bit record"),
    ("a million entries", put_end(8, "<HH", 65535, 65535), None),  # the wide record has the number
    ("two disks", put_end(4, "<HH", 1, 1), "disagree"),
    ("two wide disks", put_wide(16, "<LL", 1, 1), "one part of several"),
    ("an entry beyond the file", put(42, "<L", 1 << 31), "is not at its recorded offset"),
    ("an entry in the directory", put(20, "<LL", 1 << 20, 1 << 20), "ends after the directory"),
    ("an entry of two sizes", put(24, "<L", 63), "has two sizes"),
    ("an entry of unknown size", put(24, "<L", 0xFFFFFFFF), "64-bit field of its directory is mis"),
    ("an entry at another", put(42, "<L", 0), "is not at its recorded offset"),
    ("an entry of another name", second_local_name, "is not at its recorded offset"),
    ("a long name", put(28, "<H", 65535), "its directory is damaged"),
    ("a long comment", put(32, "<H", 65535), "its directory is damaged"),
    ("an extra field that goes on", put(30, "<H", 46), "its directory is"),
    ("names that are not UTF-8", utf8_flag, "is not UTF-8"),
    ("names of another code page", renamed(b"x/version", b"x/versio\xff"), None),
    ("names that act on a terminal", renamed(b"x/version", b"x/\x1b[31m\n!"), None),
    ("no storage", renamed(b"x/data/3", b"x/data/!"), "lacks the storage"),
    ("a compressed tensor", put(10, "<H", 8), "compressed or encrypted"),
    ("an encrypted tensor", put(8, "<H", 1), "compressed or encrypted"),
    ("a compressed pickle", put(10, "<H", 8, of="x/data.pkl"), "compressed or encrypted"),
    ("a damaged pickle", flipped("x/data.pkl"), "x/data.pkl differs from its checksum"),
    ("a damaged checksum", put(16, "<L", 1, of="x/data.pkl"), "differs from its checksum"),
    ("no checksums", without_checksums, None),
    ("a damaged tensor, not converted", flipped("x/data/3"), None),
    ("a comment", lambda d: d[:-2] + b"\x03\x00abc", None),
    ("a comment that is cut off", lambda d: d[:-2] + b"\x04\x00abc", "the directory at its end"),
    ("a comment like an end", lambda d: d[:-2] + b"\x16\x00" + END + bytes(18), PLACE),
    ("many ends", lambda d: d + END * 16_000, "the directory at its end is missing"),
    ("something before", lambda d: bytearray(LOCAL) + d, PLACE),
    ("a byte order of another machine", renamed(b"little", b"big..."), "big-endian"),
    ("a beginning alone", lambda d: d[:4], DAMAGED),
    ("half", lambda d: d[: len(d) // 2], DAMAGED),
]  # fmt: skip
MADE: list[tuple[str, Callable[[], bytes], str | None]] = [
    ("narrow", lambda: good(wide=False), None),
    ("one name twice", two_names, "holds x/data.pkl twice"),
    ("entries that overlap", overlapping, "its entries overlap"),
    ("10,000 entries", lambda: raw_archive([b"x/%x" % n for n in range(10_000)], [0] * 10_000),
     "0 entries named data.pkl"),
    ("70,000 entries", lambda: raw_archive([b"x/%x" % n for n in range(70_000)], [0] * 70_000),
     "0 entries named data.pkl"),
    ("a bomb", archive(("x/data.pkl", bytes(50_000_000)), compression=zipfile.ZIP_DEFLATED),
     "compressed or encrypted"),
    ("a bomb beside", archive(("x/data.pkl", pickle.dumps({}, 2)), ("x/y", bytes(50_000_000)),
                              compression=zipfile.ZIP_DEFLATED), "compressed or encrypted"),
    ("no entries", archive(), "of an unknown format"),
    ("two pickles", archive(("x/data.pkl", b""), ("y/data.pkl", b"")), "2 entries named data.pkl"),
    ("another archive", archive(("a\n\x1b[31m" + "b" * 1000, b"")), "0 entries named data.pkl"),
    ("an empty pickle", archive(("x/data.pkl", b"")), "without its end mark"),
    ("a long byte order", archive(("x/data.pkl", RECORD), ("x/byteorder", b"little" * 9)),
     "big-endian"),
]  # fmt: skip
CONVERTED: list[tuple[str, Edit, str | None]] = [
    ("a good file", lambda data: data, None),
    ("no checksums", without_checksums, None),
    ("a damaged tensor", flipped("x/data/3"), "input_layernorm.bias) differs from its checksum"),
    ("a damaged matrix", flipped("x/data/0"), "(word_embeddings.weight) differs from its checksum"),
    ("damaged queries", flipped("x/data/4"), "query_key_value.weight) differs from its checksum"),
]  # fmt: skip


def changed(edit: Edit, folder: Path) -> Path:
    (folder / NAME).write_bytes(edit(bytearray(good())))
    return folder


def made(make: Callable[[], bytes], folder: Path) -> Path:
    (folder / NAME).write_bytes(make())
    return folder


CASES = [
    *(
        Case(name=name, make=functools.partial(changed, edit), error=error)
        for name, edit, error in CHANGED
    ),
    *(
        Case(name=name, make=functools.partial(made, make), error=error)
        for name, make, error in MADE
    ),
    *(
        Case(name=f"converted: {name}", make=functools.partial(changed, edit), error=error,
             read="convert")
        for name, edit, error in CONVERTED
    ),
]  # fmt: skip
