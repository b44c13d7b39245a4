"""TensorFlow's variables, wrong in one field each; TensorFlow is the judge of what is corrupt."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.hostile.harness import Case, Server, check
from tests.hostile.wire import (
    GRAPH,
    HEADER,
    block,
    bundle,
    checksum,
    entry,
    fixed32,
    graph,
    message,
    number,
    sealed,
    table,
    varint,
    write_bundle,
    write_index,
)

ENTRIES, DATA = bundle()
KEYS = sorted(ENTRIES)
FIRST = KEYS[2]
"""The first variable, 8 x 4 float32, 128 bytes at 0."""
LISTED = [(0, key.encode(), ENTRIES[key]) for key in KEYS]
SOUND = table(block(LISTED))
CRC = checksum(DATA[:128])


def whole(name: str, index: bytes, error: str | None, data: bytes = DATA) -> Case:
    return Case(
        name=name, make=lambda folder: write_index(folder, index, data), error=error, read="convert"
    )


def field(name: str, value: bytes, error: str | None, key: str = FIRST) -> Case:
    """A case of the description of one variable."""
    return Case(
        name=name,
        make=lambda folder: write_bundle(folder, {**ENTRIES, key: value}, DATA),
        error=error,
        read="convert",
    )


def objects(name: str, content: bytes, error: str | None) -> Case:
    """A case of another object graph."""

    def make(folder: Path) -> Path:
        entries, data = bundle(content)
        return write_bundle(folder, entries, data)

    return Case(name=name, make=make, error=error, read="convert")


def placed(name: str, put: Callable[[Path], object], error: str) -> Case:
    """A case of something else in place of the data file."""

    def make(folder: Path) -> Path:
        write_index(folder, SOUND, DATA)
        file = folder / "variables" / "variables.data-00000-of-00001"
        file.unlink()
        put(file)
        return folder

    return Case(name=name, make=make, error=error)


def sized(*sizes: int) -> bytes:
    """A description whose shape has these sizes."""
    dims = b"".join(message(2, number(1, size)) for size in sizes)
    return number(1, 1) + message(2, dims) + number(5, 128) + b"\x35" + CRC


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


NAMES = {key: f"n{i}" for i, key in enumerate(KEYS)}
MANY = [(0, b"k%06d" % i, entry((1,), 0, 4, CRC)) for i in range(22_000)]
SHARED = message(1, *[message(1, number(1, 0))] * 1000)
CASES = [
    whole("sound", SOUND, None),
    whole("empty index", b"", "footer is missing"),
    whole("zeros", bytes(1000), "footer is missing"),
    whole("a web page", b"<html>", "a web page"),
    whole("cut", SOUND[:-1], "footer is missing"),
    whole("a block changed", flipped(SOUND, 40), "differs from its checksum"),
    whole("a block's checksum changed", SOUND.replace(sealed(block(LISTED)), sealed(block(LISTED))[:-1] + b"\0"), "checksum"),
    whole("a compressed block", table(block(LISTED), kind=1), "compressed"),
    whole("no header", table(block(LISTED[1:])), "damaged"),
    whole("keys not in order", table(block([LISTED[0], LISTED[2], LISTED[1]])), "not in order"),
    whole("a key twice", table(block([*LISTED[:2], LISTED[1]])), "not in order"),
    whole("a key that is not UTF-8", table(block([*LISTED, (0, b"\xff", ENTRIES[FIRST])])), "damaged"),
    whole("a key of control characters", table(block([LISTED[0], (0, b"\x1b[2J", ENTRIES[FIRST]), *LISTED[1:]])), "not part of this model"),
    whole("restarts of 2^32", table(block(LISTED, restarts=2**32 - 1)), "a block is damaged"),
    whole("a shared size too large", table(block([LISTED[0], (9, b"x", ENTRIES[FIRST])])), "damaged"),
    whole("blocks overlap", table(block(LISTED), block(LISTED), handles=[varint(0) + varint(len(block(LISTED)))] * 2), "overlap"),
    whole("a block of 2^63", table(block(LISTED), handles=[varint(0) + varint(1 << 63)]), "truncated"),
    whole("a block far away", table(block(LISTED), handles=[varint(1 << 62) + varint(4)]), "truncated"),
    whole("a handle cut", table(block(LISTED), handles=[b"\x80"]), "within a number"),
    whole("22,000 tensors", table(block([LISTED[0], LISTED[1], *MANY])), "expected a matrix"),
    whole("keys that grow", table(block([LISTED[0], (0, b"a" * 9999, b""), *[(9999, b"%04d" % i, b"") for i in range(9999)]])), "too long"),
    whole("data cut", SOUND, "truncated", DATA[:-1]),
    whole("data empty", SOUND, "is empty", b""),
    whole("a value changed", SOUND, "differs from its checksum", flipped(DATA, 5)),
    whole("the last value changed", SOUND, "differs from its checksum", flipped(DATA, len(DATA) - 1)),
    field("sound description", ENTRIES[FIRST], None),
    field("checksum another", ENTRIES[FIRST][:-1] + b"\0", "differs from its checksum"),
    field("checksum missing", ENTRIES[FIRST][:-5], "differs from its checksum"),
    field("checksum a number", ENTRIES[FIRST][:-5] + number(6, 1), "expected a message"),
    field("in slices", ENTRIES[FIRST] + message(7), "in slices"),
    field("empty", b"", "described in 0 bytes"),
    field("type 0", entry((8, 4), 0, 128, CRC, dtype=0), "type 0"),
    field("type 2^40", entry((8, 4), 0, 128, CRC, dtype=2**40), "TensorFlow's type"),
    field("type -1", entry((8, 4), 0, 128, CRC, dtype=-1), "a number is -1"),
    field("integers", entry((8, 4), 0, 128, CRC, dtype=3), "expected only weights"),
    field("file 1", entry((8, 4), 0, 128, CRC, shard=1), "names file 1 of 1"),
    field("file 2^62", entry((8, 4), 0, 128, CRC, shard=2**62), "names file"),
    field("file -1", entry((8, 4), 0, 128, CRC, shard=-1), "a number is -1"),
    field("offset beyond", entry((8, 4), len(DATA), 128, CRC), "truncated"),
    field("offset 2^62", entry((8, 4), 2**62, 128, CRC), "truncated"),
    field("offset -8", entry((8, 4), -8, 128, CRC), "a number is -8"),
    field("offset of another", entry((8, 4), 4, 128, CRC), "differs from its checksum"),
    field("size -1", entry((8, 4), 0, -1, CRC), "a number is -1"),
    field("size another", entry((8, 4), 0, 64, CRC), "has 64 bytes"),
    field("shape negative", sized(-8, -4), "a number is -8"),
    field("shape 2^47 x 2^47 x 0", sized(2**47, 2**47, 0), "too large"),
    field("shape 2^62", sized(2**62), "has the shape"),
    field("shape of 9 axes", sized(*[1] * 7, 8, 4), "9 axes"),
    field("shape of 100,000 axes", sized(*[1] * 100_000), "axes"),
    field("shape another", sized(4, 8), "expected (4, 8)"),
    field("shape of texts", number(1, 1) + message(2, message(2, message(1, b"8"))) + number(5, 128) + b"\x35" + CRC, "expected a number"),
    field("shape a number", number(1, 1) + number(2, 8) + number(5, 128) + b"\x35" + CRC, "expected a message"),
    field("a field twice", ENTRIES[FIRST] + number(4, 0), None),
    field("a number of 70 bits", ENTRIES[FIRST] + varint(4 << 3) + b"\xff" * 9 + b"\x7f", "64 bits"),
    field("a number without end", ENTRIES[FIRST] + b"\x20" + b"\xff" * 99, "64 bits"),
    field("a field of 2^63 bytes", ENTRIES[FIRST] + b"\x12" + varint(1 << 63), "within a field"),
    field("field 0", ENTRIES[FIRST] + b"\0\0", "the number 0"),
    field("a group", ENTRIES[FIRST] + b"\x0b", "wire type 3"),
    field("300,000 fields", ENTRIES[FIRST] + b"\x20\0" * 300_000, "more than"),
    field("header big-endian", HEADER + number(2, 1), "big-endian", ""),
    field("header of 0 files", number(1, 0) + message(3), "names file 0 of 0", ""),
    field("header of 2^62 files", number(1, 1 << 62) + message(3), "cannot be read", ""),
    field("header of -1 files", number(1, -1) + message(3), "a number is -1", ""),
    field("header a text", message(1, b"x"), "expected a number", ""),
    field("graph not a string", entry((8, 4), 0, 128, CRC), "not a scalar string", GRAPH),
    field("graph elsewhere", entry((), 0, 40, CRC, dtype=7), "not a scalar string", GRAPH),
    objects("graph empty", b"", "expected a matrix"),
    objects("graph of zeros", bytes(1000), "the number 0"),
    objects("graph cut", graph(NAMES)[:-1], "within a field"),
    objects("graph of names that are not UTF-8", message(1, message(2, message(2, b"\xff"), message(3, b"k"))), "damaged"),
    objects("graph with a cycle", SHARED * 100, "expected a matrix"),
    objects("graph nested", b"\x0a\x7f" * 200_000, "wire type 7"),
    objects("graph of one name for all", graph(dict.fromkeys(KEYS, "x")), "several variables with one name"),
    objects("graph of 200,000 nodes", message(1) * 199_999, "expected a matrix"),
    objects("graph of 400,000 nodes", message(1) * 400_000, "more than"),
    objects("graph of 9,999 layers", graph({k: f"layer9999/{i}" for i, k in enumerate(KEYS)}), "expected a matrix"),
    objects("graph numbers for nodes", number(1, 1) * 1000 + fixed32(1, 8), "the number 0"),
    placed("a pipe", os.mkfifo, "is a named pipe"),
    placed("a directory", os.mkdir, "is a directory"),
    placed("a device", lambda path: path.symlink_to("/dev/zero"), "is a device"),
    placed("missing", lambda path: None, "cannot be read"),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_bundles(case: Case, server: Server, tmp_path: Path) -> None:
    check(server, case, tmp_path)


def refused_by_tensorflow(folder: Path) -> bool:
    """Whether TensorFlow cannot read all variables of a bundle."""
    import tensorflow as tf

    try:
        reader = tf.train.load_checkpoint(str(folder / "variables" / "variables"))
        for name in reader.get_variable_to_shape_map():
            reader.get_tensor(name)
    except (tf.errors.OpError, ValueError, RuntimeError, IndexError):
        return True
    return False


@pytest.mark.long
def test_what_tensorflow_refuses_is_refused(server: Server, tmp_path: Path) -> None:
    """One byte of the index or of the data is changed, anywhere; the checksums find nearly all."""
    assert not refused_by_tensorflow(write_index(tmp_path / "sound", SOUND, DATA))
    draw = random.Random(1)
    both = refused = 0
    for i in range(60):
        index, data = bytearray(SOUND), bytearray(DATA)
        damaged = index if i % 2 else data
        damaged[draw.randrange(len(damaged))] ^= 1 << draw.randrange(8)
        folder = write_index(tmp_path / f"{i}", bytes(index), bytes(data))
        outcome = server.read(folder, "convert")
        assert outcome.ours, outcome
        if refused_by_tensorflow(folder):
            refused += 1
            both += outcome.kind != "readable"
    assert both == refused
    assert refused > 50
