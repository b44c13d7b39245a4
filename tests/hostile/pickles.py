"""Handmade pickles: what stands beside the weights of a small model, and the verdict expected."""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.hostile.harness import Case
from tests.hostile.torch_files import (
    CONTAINERS,
    NAME,
    integer,
    model,
    name_of,
    shard,
    text,
)

__all__ = ["CASES"]

Opcodes = bytes | Callable[[], bytes]
SIZE = 900_000
"""Bytes of the larger files; the limits are those of files under 1 MB."""
P = (1 << 61) - 1
"""Python's modulus of hashes."""
PRIMES = (11400714785074694791, 14029467366897019727, 2870177450012600261)
"""Of the hash of a tuple, in Objects/tupleobject.c."""


def shared(levels: int, make: bytes) -> bytes:
    """A value that holds the one before twice, which holds the one before twice, and so on."""
    step = b"0h\x00h\x00" + make + b"q\x00"
    return b"K\x01K\x02\x86q\x00" + step * levels


def repeated(opcodes: bytes, size: int = SIZE) -> bytes:
    """A list of what some opcodes make, as often as it fits."""
    return b"](" + opcodes * (size // len(opcodes)) + b"e"


def remembered(value: bytes, index: int = 1) -> bytes:
    return value + b"q" + bytes([index]) + b"0"


def entries(keys: Iterator[bytes]) -> bytes:
    return b"}(" + b"".join(key + b"N" for key in keys) + b"u"


def same_hash(count: int) -> Iterator[bytes]:
    """Pairs of integers that all have one hash in CPython: the second is computed for the first."""
    mask = (1 << 64) - 1
    one, two, five = PRIMES
    inverse = pow(two, -1, 1 << 64)
    wanted, first, made = 12345, 0, 0
    while made < count:
        first += 1
        state = five + first * two & mask
        state = (state << 31 | state >> 33) & mask
        state = state * one & mask
        second = (wanted - state) * inverse & mask
        if second < P - 1:
            made += 1
            yield integer(first) + integer(second) + b"\x86"


def arc(count: int) -> Iterator[bytes]:
    """Integers that fill half a dictionary's table in its order of probing, then others that all
    have to walk through it."""
    slots, at = count * 3 // 2, 0
    size = 1 << (slots - 1).bit_length()
    for _ in range(count // 2):
        yield integer(at)
        at = (5 * at + 1) % size
    for number in range(count - count // 2):
        yield integer((number + 1) * size)


def large(count: int) -> bytes:
    """A dictionary with many entries."""
    return entries(integer(number) for number in range(count))


def old_pairs(count: int) -> bytes:
    return b"](" + b"".join(integer(n) + b"N\x86" for n in range(count)) + b"e"


def many_dicts_of_one_name(length: int) -> bytes:
    """One long name and one tensor, in as many dictionaries as fit."""
    name = "a." * (length // 2) + "weight"
    start = remembered(text(name)) + remembered(TENSOR + b"R", 2) + b"}("
    inner = b"".join(text(f"{n:x}") + b"}h\x01h\x02s" for n in range(60_000))
    return start + inner + b"u"


def one_dict_everywhere() -> bytes:
    """A dictionary whose values are all one dictionary, whose values are all one dictionary."""
    keys = [text(f"{n:x}") for n in range(25_000)]
    inner = remembered(b"}(" + b"".join(key + b"N" for key in keys) + b"u", 1)
    middle = remembered(b"}(" + b"".join(key + b"h\x01" for key in keys) + b"u", 2)
    return inner + middle + b"}(" + b"".join(key + b"h\x02" for key in keys) + b"u"


REBUILD = name_of("torch._utils", "_rebuild_tensor_v2")
PID = b"(" + text("storage") + name_of("torch", "FloatStorage") + text("0") + text("cpu")
PID += integer(32) + b"t"
ARGUMENTS = b"(" + PID + b"QK\x00K\x01\x85K\x01\x85\x89Nt"
TENSOR = REBUILD + ARGUMENTS
SHAPE = REBUILD + b"(" + PID + b"QK\x00"
HUGE = integer(1 << 47)
TOO_MANY = "too many for its size"
NO_VALUE = "a value is wanted where there is none"

ROWS: list[tuple[str, Opcodes, str | None]] = [
    # What shares its parts, and would be exponential if anybody walked through it.
    ("shared tuple", shared(60, b"\x86"), None),
    ("shared tuple as a key", b"}" + shared(60, b"\x86") + b"Ns", "a key of a dictionary"),
    ("shared tuple in a key", b"}" + shared(60, b"\x86") + b"\x85Ns", "a key of a dictionary"),
    ("shared frozen set as a key", b"}(K\x01\x91Ns", None),
    ("shared tuple in a set", b"\x8f(" + shared(60, b"\x86") + b"\x90", None),
    ("shared list", b"]q\x00" + b"0](h\x00h\x00eq\x00" * 60, None),
    ("shared dictionary", b"}q\x00" + b"0}(Nh\x00K\x01h\x00uq\x00" * 60, None),
    ("list that holds itself", b"]q\x00h\x00a", None),
    ("dictionary that holds itself", b"}q\x00" + text("x") + b"h\x00s", None),
    ("shared tuple as a storage", shared(60, b"\x86") + b"Q", "expected a storage, found a tuple"),
    ("shared tuple as a size", SHAPE + shared(60, b"\x86") + b"K\x01\x85\x89NtR",
     "expected a size"),
    ("shared tuple as a function", shared(60, b"\x86") + b")R", "a call of a tuple of 2"),
    ("shared tuple as a state", b"cargparse\nNamespace\n)R" + shared(60, b"\x86") + b"b", None),
    ("one dictionary everywhere", one_dict_everywhere, None),
    ("one name in many dictionaries", lambda: many_dicts_of_one_name(500), None),
    ("one longer name in many dictionaries", lambda: many_dicts_of_one_name(4000), None),
    # Depth.
    ("deep tuples", lambda: b")" + b"\x85" * SIZE, TOO_MANY),
    ("deep tuples of 132 kB", lambda: b")" + b"\x85" * 132_000, None),
    ("deep tuples as a key", lambda: b"})" + b"\x85" * 132_000 + b"Ns", "a key of a dictionary"),
    ("deep lists", lambda: b"]" * 66_000 + b"a" * 65_999, None),
    ("deep dictionaries", lambda: b"}K\x01" * 60_000 + b"N" + b"s" * 60_000, None),
    ("deep marks", lambda: b"(" * (SIZE // 2) + b"t" * (SIZE // 2), None),
    ("marks alone", lambda: b"(" * SIZE, NO_VALUE),
    # Many small things.
    ("empty sets", lambda: repeated(b"\x8f"), None),
    ("empty sets of Python 3", lambda: repeated(b"cbuiltins\nset\n]\x85R"), None),
    ("empty tuples", lambda: repeated(b")"), None),
    ("empty lists", lambda: repeated(b"]"), TOO_MANY),
    ("empty dictionaries", lambda: repeated(b"}"), TOO_MANY),
    ("dictionaries of one", lambda: repeated(b"}NNs"), TOO_MANY),
    ("numbers", lambda: repeated(b"J\xff\xff\xff\x7f"), None),
    ("floats", lambda: repeated(b"G" + struct.pack(">d", 0.1)), None),
    ("texts of two characters", lambda: repeated(b"\x8c\x02ab"), None),
    ("a text that grows fourfold", lambda: text("\U0001f600" + "a" * SIZE), None),
    ("bytes", lambda: b"B" + struct.pack("<I", SIZE) + bytes(SIZE), None),
    ("escapes", lambda: b"S'" + rb"\x41" * (SIZE // 4) + b"'\n", None),
    ("dictionaries by a call", lambda: repeated(b"ccollections\nOrderedDict\n)R", SIZE), None),
    ("copies of a dictionary",
     lambda: remembered(old_pairs(20_000)) + remembered(b"ccollections\nOrderedDict\n", 2)
     + remembered(b"h\x01\x85", 3) + repeated(b"h\x02h\x03R", 190_000), TOO_MANY),
    ("states of a namespace",
     lambda: remembered(large(10_000)) + b"cargparse\nNamespace\n)R" + b"h\x01b" * 100_000,
     TOO_MANY),
    ("one tensor often", lambda: remembered(TENSOR + b"R") + repeated(b"h\x01"), None),
    ("tensors by a call",
     lambda: remembered(REBUILD) + remembered(ARGUMENTS, 2) + repeated(b"h\x01h\x02R"), TOO_MANY),
    ("sizes by a call",
     lambda: remembered(b"(" + b"K\x01" * 100_000 + b"t") + SHAPE + b"h\x01h\x01\x89NtR",
     "expected sizes, found a tuple of 100,000"),
    ("storages by a call",
     lambda: remembered(PID) + repeated(b"h\x01Q"), None),
    ("names", lambda: b"](" + b"".join(
        name_of("a", f"{n:x}") for n in range(90_000)) + b"e", None),
    # Keys.
    ("equal long keys", lambda: b"}" + b"".join(
        text("k" * 4096) + b"Ns" for _ in range(200)), None),
    ("a longer key", b"}" + text("k" * 4097) + b"Ns", "a key is a text of 4,097 characters"),
    ("a long number as a key", b"}" + integer(1 << 65) + b"Ns", "a key of a dictionary is an int"),
    ("numbers as keys", lambda: large(32_768), None),
    ("more numbers as keys", lambda: large(32_769), "more than 32,768"),
    ("numbers that fill the table", lambda: b"](" + entries(arc(30_000)) * 3 + b"e", None),
    ("pairs of one hash", lambda: entries(same_hash(30_000)), "more than 256"),
    ("floats as keys", lambda: entries(b"G" + struct.pack(">d", 0.5 + n) for n in range(300)),
     "more than 256"),
    ("classes as keys", lambda: entries(name_of("a", f"{n:x}") for n in range(30_000)), None),
    ("list as a key", b"}]Ns", "a key of a dictionary is a list of 0"),
    ("not a number as a key", b"}" + b"G\x7f\xf8\0\0\0\0\0\0Ns", None),
    # Numbers.
    ("5,000 digits", b"I" + b"9" * 5000 + b"\n", "a line is too long"),
    ("600 digits", b"I" + b"9" * 600 + b"\n", None),
    ("a long of 5,000 digits", b"L" + b"9" * 5000 + b"L\n", "a line is too long"),
    ("an integer of 700 kB", lambda: b"\x8b" + struct.pack("<I", 700_000) + bytes(700_000),
     "an integer has 700,000 bytes"),
    ("an integer of 255 bytes", b"\x8a\xff" + b"\x7f" * 255, None),
    ("digits that are none", b"I1_0\n", "not written as one"),
    ("a float of 5,000 digits", b"F" + b"9" * 5000 + b"\n", "a line is too long"),
    ("shape with a zero", SHAPE + HUGE + HUGE + b"K\x00\x87" + b"K\x01K\x01K\x01\x87\x89NtR",
     "does not fit its storage"),
    ("shape beyond 64 bits", SHAPE + integer(1 << 200) + b"\x85K\x01\x85\x89NtR",
     "expected a size"),
    # Opcodes in the wrong place.
    ("no value", b"0" * 9, "a mark is wanted where there is none"),
    ("no mark", b"t", "a mark is wanted where there is none"),
    ("key without a value", b"}(Nu", "a key without a value"),
    ("entries of a number", b"K\x01NNs", "put into an integer of 1 bits"),
    ("appended to a text", text("a") + b"Na", "appended to a text of 1 characters"),
    ("added to a list", b"](N\x90", "added to a list of 0"),
    ("state of a number", b"K\x01Nb", "is given a state"),
    ("state of a function", b"ccollections\nOrderedDict\nNb", "is given a state"),
    ("call of a number", b"K\x01)R", "a call of an integer"),
    ("call without a tuple", b"cos\nsystem\nNR", "a call with a NoneType"),
    ("memo beyond all", b"Nr\xff\xff\xff\x7f", "a memo of 2,147,483,647 entries"),
    ("memo of a gap", b"h\x63", "a value of the memo is wanted"),
    ("memo below zero", b"g-1\n", "a value of the memo is wanted"),
    ("a terabyte of bytes", b"\x8e" + struct.pack("<Q", 1 << 40), "1,099,511,627,776 bytes are"),
    ("a bytearray of 2^63", b"\x96" + struct.pack("<Q", 1 << 63), "bytes are wanted"),
    ("a frame of a terabyte", b"\x95" + struct.pack("<Q", 1 << 40) + b"N", "a frame of"),
    ("protocol 9", b"\x80\x09N", "protocol 9; expected at most 5"),
    ("an unknown opcode", b"\xff", "the opcode 0xff is not allowed"),
    ("text that is not UTF-8", b"X\x01\x00\x00\x00\xff", "utf-8"),
    ("old text that is not UTF-8", b"U\x01\xff", None),
    ("text without quotes", b"Sabc\n", "not in quotes"),
    ("a name that is not UTF-8", b"c\xff\n\xff\n", "utf-8"),
    ("a name without an end", lambda: b"c" + b"a" * SIZE, "a line is too long or cut off"),
    ("a name of numbers", b"K\x01K\x02\x93", "named by something else than two short texts"),
    ("an object without a class", b"(o", "an object without a class"),
    ("a dictionary of no pairs", b"ccollections\nOrderedDict\n](Ne\x85R", "else than pairs"),
    ("a tensor of nothing", b"ctorch._utils\n_rebuild_tensor_v2\n)R", "a tensor that is not desc"),
    ("a typed tensor of nothing", b"ctorch._utils\n_rebuild_tensor_v3\n" + ARGUMENTS + b"R",
     "a tensor of an unknown format"),
    ("a parameter of nothing", b"ctorch._utils\n_rebuild_parameter\n)R", "without a tensor"),
]  # fmt: skip


def beside(opcodes: Opcodes, container: str, key: str, folder: Path) -> Path:
    return shard(folder, opcodes if isinstance(opcodes, bytes) else opcodes(), container, key)


def instead(record: Opcodes, name: str, folder: Path) -> Path:
    """Write a file that holds nothing but what some opcodes make."""
    made = record if isinstance(record, bytes) else record()
    CONTAINERS["zip"](folder / name, b"\x80\x02" + made + b".", model()[1])
    return folder / name


# What our own errors quote: the keys that a shard is read by.
QUOTED: list[tuple[str, str, bytes, str | None]] = [
    ("shared tuple as a version", "checkpoint_version", shared(60, b"\x86"), "a tuple of 2"),
    ("long number as a version", "checkpoint_version", b"\x8a\xff" + b"\x7f" * 255, "2,039 bits"),
    ("shared tuple as a step", "iteration", shared(60, b"\x86"), None),
    ("long number as a step", "iteration", b"\x8a\xff" + b"\x7f" * 255, None),
    ("negative step", "iteration", b"J\xff\xff\xff\xff", None),
    ("many ranks", "mp_world_size", b"\x8a\xff" + b"\x7f" * 255, "shards are missing"),
    ("arguments", "args", shared(60, b"\x86"), None),
]
ROOTS: list[tuple[str, Opcodes, str]] = [
    ("a number", b"K\x01", "holds int; expected a dictionary"),
    ("a shared tuple", shared(60, b"\x86"), "holds tuple; expected a dictionary"),
    ("a class", name_of("os", "system"), "holds os.system; expected a dictionary"),
    ("a class with a long name", name_of("a" * 4000, "\x1b[31m"), "expected a dictionary"),
    ("nothing", b"}", "holds no weights"),
    ("a shared tuple by name", b"}" + text("w") + shared(60, b"\x86") + b"s", "holds no weights"),
    ("long tuples as keys",
     lambda: remembered(text("k" * 4096)) + entries(
         integer(n) + b"h\x01h\x01\x87" for n in range(256)), "holds no weights"),
    ("90,000 names", lambda: b"}(" + b"".join(
        text(f"{n:x}") + b"N" for n in range(80_000)) + b"u", "holds no weights"),
]  # fmt: skip
CASES = [
    *(
        Case(name=f"{name}, {container}", error=error,
             make=functools.partial(beside, opcodes, container, "x"))
        for number, (name, opcodes, error) in enumerate(ROWS)
        for index, container in enumerate(CONTAINERS)
        if isinstance(opcodes, bytes) or number % 2 == index  # large files in one of the two
    ),
    *(
        Case(name=name, error=error, make=functools.partial(beside, opcodes, "zip", key))
        for name, key, opcodes, error in QUOTED
    ),
    *(
        Case(name=f"root: {name}", error=error, make=functools.partial(instead, opcodes, NAME))
        for name, opcodes, error in ROOTS
    ),
    *(
        Case(name=f"{file}: {name}", error="expected a dictionary of tensors by GPT-2's names",
             make=functools.partial(instead, opcodes, file))
        for name, opcodes, _ in ROOTS
        for file in ("pytorch_model.bin", "x.pt")
    ),
]  # fmt: skip
