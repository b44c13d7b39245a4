"""Files that follow the grammar of their format, and are wrong in a few of its fields.

Random damage is found by checksums and by the first parser; it seldom reaches what lies behind.
Each function here writes a new file into a directory, from random numbers.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cpm_lm.checkpoints.config_file import read_config
from cpm_lm.checkpoints.source import open_source
from cpm_lm.errors import TokenizerError
from cpm_lm.json_file import parse_json
from cpm_lm.tokenizer import Tokenizer
from tests.hostile import wire
from tests.hostile.models import CONFIG, VALUES, header
from tests.support.torch_grammars import TORCH_GRAMMARS

__all__ = ["GRAMMARS"]

NUMBERS = (
    0,
    1,
    -1,
    2,
    7,
    8,
    127,
    128,
    255,
    2**31,
    2**32 - 1,
    2**47,
    2**62,
    2**63 - 1,
    2**63,
    2**64,
)
WORDS = ("", "a", "wte.weight", "\x1b[2J", "\u202e", "é", "天", "x" * 2000, "../x", "\0", "\ud800")
SPACES = ("", "", "", " ", "\n", "\t", "\r\n")


def word(draw: random.Random) -> str:
    return draw.choice(WORDS) if draw.random() < 0.7 else chr(draw.randrange(1, 0x3000))


def value(draw: random.Random, depth: int = 0) -> str:
    """A text of JSON, valid or nearly."""
    kind = draw.randrange(9 if depth < 4 else 7)
    space = draw.choice(SPACES)
    if kind < 2:
        return (
            space + str(draw.choice(NUMBERS)) + draw.choice(("", "", "", ".5", "e3", "e999", "E+1"))
        )
    if kind < 5:
        return space + json.dumps(word(draw), ensure_ascii=draw.random() < 0.5)
    if kind == 5:
        return draw.choice(
            ("null", "true", "false", "NaN", "-Infinity", "nul", "9" * 5000, "-", "")
        )
    if kind == 6:
        return draw.choice(('"\\ud800"', '"\\u12"', '"', "'a'", "//", "[" * 2000, '{"a":' * 500))
    inside = [value(draw, depth + 1) for _ in range(draw.randrange(5))]
    if kind == 7:
        return f"{space}[{','.join(inside)}]"
    names = (json.dumps(word(draw)) for _ in inside)
    pairs = (
        f"{name}{draw.choice(SPACES)}:{item}" for name, item in zip(names, inside, strict=True)
    )
    return f"{space}{{{','.join(pairs)}}}"


def write(path: Path, text: str) -> None:
    path.write_bytes(text.encode("utf-8", "surrogatepass"))


def any_json(directory: Path, draw: random.Random) -> None:
    write(directory / "x.json", value(draw))


def a_config(directory: Path, draw: random.Random) -> None:
    """A configuration with a few other values."""
    fields = {name: json.dumps(known) for name, known in CONFIG.items()}
    for _ in range(draw.randrange(1, 4)):
        fields[draw.choice([*CONFIG, "n_inner", "n_ctx", "hidden_size", word(draw)])] = value(draw)
    pairs = (f"{json.dumps(name)}:{text}" for name, text in fields.items())
    write(directory / "config.json", f"{{{','.join(pairs)}}}")


def a_header(directory: Path, draw: random.Random) -> None:
    """A safetensors file whose header has a few other fields."""
    entries: list[tuple[str, dict[str, str]]] = [
        (name, {key: json.dumps(item) for key, item in entry.items()})
        for name, entry in header().items()
    ]
    for _ in range(draw.randrange(3)):
        at = draw.randrange(len(entries))
        name, entry = entries[at]
        kind = draw.randrange(6)
        if kind == 0:
            entries.insert(draw.randrange(len(entries)), entries[at])
        elif kind == 1:
            entries[at] = (word(draw), entry)
        elif kind == 2:
            del entries[at]
        else:
            shape = [draw.choice(NUMBERS) for _ in range(draw.randrange(10))]
            key = draw.choice(["dtype", "shape", "data_offsets", word(draw)])
            text = json.dumps(shape) if draw.random() < 0.5 else value(draw)
            entries[at] = (name, {**entry, key: text})
    tensors = (
        f"{json.dumps(name)}:{{{','.join(f'{json.dumps(k)}:{v}' for k, v in entry.items())}}}"
        for name, entry in entries
    )
    data = f"{{{','.join(tensors)}}}{draw.choice(SPACES)}".encode("utf-8", "surrogatepass")
    size = len(data) if draw.random() < 0.9 else abs(draw.choice(NUMBERS)) % 2**64
    (directory / "config.json").write_text(json.dumps(CONFIG))
    (directory / "model.safetensors").write_bytes(size.to_bytes(8, "little") + data + VALUES)


def a_field(draw: random.Random) -> bytes:
    """A field of a protocol buffer, with any number and any type."""
    number = draw.randrange(1, 9)
    kind = draw.randrange(4)
    if kind == 0:
        return wire.number(number, draw.choice(NUMBERS))
    if kind == 1:
        return wire.message(number, *(a_field(draw) for _ in range(draw.randrange(3))))
    if kind == 2:
        return wire.fixed32(number, draw.randrange(2**32))
    return draw.randbytes(draw.randrange(4))


ENTRIES, DATA = wire.bundle()


def a_bundle(directory: Path, draw: random.Random) -> None:
    """TensorFlow's variables with a few other fields; the checksums of the blocks are right."""
    entries = dict(ENTRIES)
    for _ in range(draw.randrange(3)):
        key = draw.choice(list(entries))
        sizes = tuple(draw.choice((1, 2, 4, 8, *NUMBERS)) for _ in range(draw.randrange(4)))
        offset, size, kind, shard = (draw.choice((0, 1, 128, *NUMBERS)) for _ in range(4))
        crc = entries[key][-4:]
        new = draw.choice(
            [
                entries[key] + a_field(draw),
                a_field(draw) + entries[key],
                wire.entry(sizes, offset, size, crc, draw.choice((1, 7, 14, 19, kind)), shard),
                wire.entry((8, 4), 0, 128, crc, draw.choice((1, 7, 14, 19, kind))),
            ]
        )
        entries[key if draw.random() < 0.8 else key + "x"] = new
    listed = []
    for key in sorted(entries):
        shared = draw.choice((1, 5, 2**32)) if draw.random() < 0.02 else 0
        listed.append((shared, key.encode(), entries[key]))
    restarts = draw.choice((0, 2, 2**31)) if draw.random() < 0.1 else 1
    wire.write_index(directory, wire.table(wire.block(listed, restarts)), DATA)


def a_graph(directory: Path, draw: random.Random) -> None:
    """TensorFlow's variables with another object graph."""
    nodes = [
        wire.message(draw.randrange(1, 4), *(a_field(draw) for _ in range(draw.randrange(4))))
        for _ in range(draw.randrange(4))
    ]
    nodes.insert(draw.randrange(len(nodes) + 1), wire.graph(wire.names()))
    entries, data = wire.bundle(b"".join(nodes))
    wire.write_bundle(directory, entries, data)


def a_model(directory: Path, draw: random.Random) -> None:
    """A SentencePiece model with a few other pieces and settings."""
    pieces = list(wire.PIECES)
    for _ in range(draw.randrange(3)):
        text = draw.choice([word(draw).encode("utf-8", "surrogatepass"), draw.randbytes(3)])
        score = draw.choice((0.0, -1.0, 1e38, float("nan"), float("inf"), -1e-40))
        kind = draw.choice((1, 1, 1, 2, 3, 4, 5, 6, 7, 2**32))
        at = draw.randrange(len(pieces))
        pieces[at : at + draw.randrange(2)] = [(text, score, kind)]
    more = [a_field(draw) for _ in range(draw.randrange(3))]
    if draw.random() < 0.2:
        more.append(wire.message(3, wire.message(2, draw.randbytes(draw.randrange(40)))))
    kind = draw.choice((1, 1, 1, 2, 3, 4, 9))
    data = wire.sentencepiece_model(pieces, *more, kind=kind)
    (directory / "chinese_vocab.model").write_bytes(data)


def encode(directory: Path) -> None:
    tokenizer = Tokenizer.load(directory)
    tokenizer.decode(tokenizer.encode("今天天气 hello\n▃"))


Grammar = tuple[Callable[[Path, random.Random], None], Callable[[Path], Any]]
GRAMMARS: dict[str, Grammar] = {
    "JSON by its grammar": (any_json, lambda d: parse_json(d / "x.json", TokenizerError)),
    "config by its grammar": (a_config, lambda d: read_config(d / "config.json")),
    "safetensors by its grammar": (a_header, open_source),
    "TensorFlow bundle by its grammar": (a_bundle, open_source),
    "TensorFlow graph by its grammar": (a_graph, open_source),
    "SentencePiece by its grammar": (a_model, encode),
    **TORCH_GRAMMARS,
}
"""By format: the writer, the reader."""
