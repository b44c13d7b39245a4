"""Files of torch.save that follow the grammars of pickles and zip, and are wrong in some places."""

from __future__ import annotations

import os
import random
import struct
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from cpm_lm.checkpoints.containers.pickle_globals import STORAGE_DTYPES, TABLE
from cpm_lm.checkpoints.source import open_source
from tests.hostile.gadgets import CALLS, NAMES, arguments
from tests.hostile.harness import LIMIT_CPU, SLACK
from tests.hostile.torch_files import CONTAINERS, NAME, integer, model, name_of, text
from tests.hostile.zips import CENTRAL, END, LOCAL, good, raw_archive

__all__ = ["TORCH_GRAMMARS"]

NUMBERS = (0, 1, 2, 32, 255, 1 << 31, 1 << 47, (1 << 63) - 1, 1 << 64, -1, 1 << 500)
WORDS = ("", "w", "module", "storage", "0", "cpu", "k" * 4096, "k" * 4097, "\x1b[31m", "\ud800")
NAMED = [tuple(name.rsplit(".", 1)) for name in TABLE]
OPCODES = b"().0123BCFGIJKLMNPQRSTUVX]abcdeghijlopqrstu}" + bytes(range(0x80, 0x99))
MARK = Path(tempfile.gettempdir()) / f"owned-{os.getpid()}"
"""What a gadget that runs would leave."""


def value(draw: random.Random, depth: int = 0) -> bytes:
    """Opcodes that leave one value."""
    made = draw.choice(SIMPLE if depth > 4 or draw.random() < 0.4 else COMPOUND)(draw, depth + 1)
    kind = draw.random()
    if kind < 0.15:
        return made + b"q" + bytes([draw.randrange(8)])
    if kind < 0.18:
        return made + b"0h" + bytes([draw.randrange(8)])
    if kind < 0.2:
        return made + bytes([draw.choice(OPCODES)])
    return made


def values(draw: random.Random, depth: int, most: int = 4) -> bytes:
    return b"".join(value(draw, depth) for _ in range(draw.randrange(most)))


def a_number(draw: random.Random, _: int) -> bytes:
    number = draw.choice(NUMBERS)
    kinds = (integer(number), b"I%d\n" % number, b"L%dL\n" % number, b"F%d.5\n" % number)
    return draw.choice(kinds)


def a_text(draw: random.Random, _: int) -> bytes:
    word = draw.choice(WORDS)
    data = word.encode("utf-8", "surrogatepass")
    short = b"\x8c" + bytes([len(data) % 256]) + data[:255] if len(data) < 256 else text(word)
    return draw.choice((text(word), short, b"V" + data + b"\n", b"S'" + data + b"'\n", b"N"))


def a_name(draw: random.Random, _: int) -> bytes:
    if draw.random() < 0.3:
        return name_of("torch", draw.choice(list(STORAGE_DTYPES)))
    return name_of(*draw.choice(draw.choice((NAMES, NAMED))))


def a_dict(draw: random.Random, depth: int) -> bytes:
    pairs = [draw.choice((a_text, a_number, value))(draw, depth) + value(draw, depth)
             for _ in range(draw.randrange(4))]  # fmt: skip
    return draw.choice((b"}(" + b"".join(pairs) + b"u", b"(" + b"".join(pairs) + b"d"))


def a_list(draw: random.Random, depth: int) -> bytes:
    return draw.choice((b"](" + values(draw, depth) + b"e", b"(" + values(draw, depth) + b"l"))


def a_tuple(draw: random.Random, depth: int) -> bytes:
    return b"(" + values(draw, depth, 8) + b"t"


def a_call(draw: random.Random, depth: int) -> bytes:
    if draw.random() < 0.3:
        module, name = draw.choice(NAMES)
        return draw.choice(list(CALLS.values()))(module, name, draw.choice(arguments(str(MARK))))
    module, name = draw.choice(NAMED)
    end = draw.choice((b"R", b"\x81", b"}\x92"))
    made = name_of(module, name) + a_tuple(draw, depth) + end
    return made + (value(draw, depth) + b"b" if draw.random() < 0.3 else b"")


def a_tensor(draw: random.Random, depth: int) -> bytes:
    def sizes() -> bytes:
        few = (b"K" + bytes([draw.choice((0, 1, 2, 4, 8))]) for _ in range(draw.randrange(3)))
        return b"(" + b"".join(few) + b"t" if draw.random() < 0.9 else value(draw, depth)

    kind = draw.choice(list(STORAGE_DTYPES))
    key = str(draw.randrange(4)) if draw.random() < 0.9 else draw.choice(WORDS)
    count = draw.choice((0, 4, 16, 32, *NUMBERS))
    pid = b"(" + text("storage") + name_of("torch", kind) + text(key) + text("cpu") + integer(count)
    pid += b"t" if draw.random() < 0.9 else value(draw, depth) + b"t"
    start = name_of("torch._utils", draw.choice(("_rebuild_tensor_v2", "_rebuild_tensor_v3")))
    return start + b"(" + pid + b"QK\x00" + sizes() + sizes() + b"\x89NtR"


Make = Callable[[random.Random, int], bytes]
SIMPLE: tuple[Make, ...] = (a_number, a_text, a_name)
COMPOUND: tuple[Make, ...] = (a_dict, a_list, a_tuple, a_call, a_tensor)


def a_pickle(directory: Path, draw: random.Random) -> None:
    """A shard with a model, or parts of one, and anything beside it."""
    weights, storages = model()
    root = b"\x80\x02}" + text("module") + weights + b"s"
    if draw.random() < 0.2:
        root = b"\x80\x02}" + text("module") + value(draw) + b"s"
    for _ in range(draw.randrange(4)):
        key = draw.choice((*WORDS, "iteration", "args", "checkpoint_version", "mp_world_size"))
        root += text(key) + value(draw) + b"s"
    draw.choice(list(CONTAINERS.values()))(directory / NAME, root + b".", storages)


def a_zip(directory: Path, draw: random.Random) -> None:
    """A shard whose records of the directory have other numbers, or an archive of odd entries."""
    if draw.random() < 0.2:
        names = [draw.choice((b"x/data.pkl", b"x/data/0", draw.randbytes(3))) for _ in range(5)]
        sizes = [draw.choice((0, 1, 30, 40, 70, 1 << 31)) for _ in names]
        (directory / NAME).write_bytes(raw_archive(names, sizes, draw.randbytes(60)))
        return
    data = bytearray(good(wide=draw.random() < 0.5))
    for _ in range(draw.randrange(1, 4)):
        record = draw.choice((CENTRAL, LOCAL, END, b"PK\x06\x06", b"PK\x06\x07"))
        places = [at for at in range(len(data)) if data.startswith(record, at)]
        if places:
            at = draw.choice(places) + draw.randrange(4, 46)
            form = draw.choice(("<H", "<L", "<Q"))
            most = (1 << 8 * struct.calcsize(form)) - 1
            number = draw.choice((0, 1, 46, 0xFFFF, 0xFFFFFFFF, len(data), most, most - 300))
            data[at : at + struct.calcsize(form)] = struct.pack(form, number & most)
    (directory / NAME).write_bytes(data)


def read(directory: Path) -> None:
    """Open the shard within the limit of time; all its values are read too."""
    start = time.process_time()
    try:
        source = open_source(directory)
        for tensor in source.tensors.values():
            tensor.read()
    finally:
        if (taken := time.process_time() - start) > SLACK * LIMIT_CPU:
            raise TimeoutError(f"{taken:.1f} s of CPU time")
        if MARK.exists():
            raise AssertionError("a gadget ran")


TORCH_GRAMMARS = {
    "pickles by their grammar": (a_pickle, read),
    "archives by their grammar": (a_zip, read),
}
"""By format: the writer, the reader."""
