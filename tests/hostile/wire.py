"""Write protocol buffers, tensor bundles and SentencePiece models by hand, for the tables."""

from __future__ import annotations

import struct
from itertools import islice
from pathlib import Path

import numpy as np

from cpm_lm.checkpoints.containers.crc32c import crc32c, masked
from cpm_lm.checkpoints.containers.tensor_bundle import MAGIC
from cpm_lm.checkpoints.layouts.tensorflow_names import PORT
from cpm_lm.checkpoints.layouts.tensorflow_names import sources as variables
from tests.hostile.models import SHAPES

GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"


def varint(value: int) -> bytes:
    """A number; a negative one as its 64 bits, as protocol buffers have it."""
    value &= (1 << 64) - 1
    parts = []
    while value >= 0x80:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def message(field: int, *parts: bytes) -> bytes:
    content = b"".join(parts)
    return varint(field << 3 | 2) + varint(len(content)) + content


def fixed32(field: int, value: int) -> bytes:
    return varint(field << 3 | 5) + value.to_bytes(4, "little")


def checksum(data: bytes) -> bytes:
    return masked(crc32c(data)).to_bytes(4, "little")


def sealed(content: bytes, kind: int = 0) -> bytes:
    """A block of a table, with its type and its checksum."""
    data = content + bytes([kind])
    return data + checksum(data)


def block(entries: list[tuple[int, bytes, bytes]], restarts: int = 1) -> bytes:
    """A block: bytes shared with the previous key, the rest of the key, the value."""
    body = b"".join(
        varint(shared) + varint(len(rest)) + varint(len(value)) + rest + value
        for shared, rest, value in entries
    )
    return body + bytes(4) + restarts.to_bytes(4, "little")


def table(*contents: bytes, handles: list[bytes] | None = None, kind: int = 0) -> bytes:
    """An index file of blocks."""
    data, found = b"", []
    for content in contents:
        found.append(varint(len(data)) + varint(len(content)))
        data += sealed(content, kind)
    # TensorFlow looks for a key in the first block whose key here is not below it.
    listing = block([(0, bytes([255, i]), h) for i, h in enumerate(handles or found)])
    footer = varint(0) + varint(0) + varint(len(data)) + varint(len(listing))
    return data + sealed(listing) + footer.ljust(40, b"\0")[:40] + MAGIC


def entry(
    shape: tuple[int, ...], offset: int, size: int, crc: bytes, dtype: int = 1, shard: int = 0
) -> bytes:
    """A BundleEntryProto."""
    dims = b"".join(message(2, number(1, length)) for length in shape)
    place = number(3, shard) + number(4, offset) + number(5, size)
    return number(1, dtype) + message(2, dims) + place + b"\x35" + crc


def string(content: bytes) -> tuple[bytes, bytes]:
    """A scalar string in a data file, and its checksum."""
    length = struct.pack("<I", len(content))
    head = checksum(length)
    return varint(len(content)) + head + content, checksum(length + head + content)


def graph(names: dict[str, str]) -> bytes:
    """An object graph of one node, whose attributes name the keys."""
    attributes = (
        message(2, message(1, b"V"), message(2, name.encode()), message(3, key.encode()))
        for key, name in names.items()
    )
    return message(1, *attributes)


HEADER = number(1, 1) + message(3, number(1, 1))


def names() -> dict[str, str]:
    """The variables of the first port's small model by key."""
    found = [name for _, sources in variables(PORT, 1) for name in sources]
    return {f"v/{i:02d}/.ATTRIBUTES/VARIABLE_VALUE": name for i, name in enumerate(found)}


def bundle(objects: bytes | None = None) -> tuple[dict[str, bytes], bytes]:
    """The entries of the first port's small model by key, and its data file."""
    data, entries = b"", {"": HEADER}
    rng = np.random.default_rng(1)
    keys = iter(names())
    for target, sources in variables(PORT, 1):
        shape = SHAPES[target]
        part = (*shape[:-1], shape[-1] // len(sources))
        for key in islice(keys, len(sources)):
            values = rng.normal(size=part).astype("<f4").tobytes()
            entries[key] = entry(part, len(data), len(values), checksum(values))
            data += values
    content, crc = string(graph(names()) if objects is None else objects)
    entries[GRAPH] = entry((), len(data), len(content), crc, dtype=7)
    return entries, data + content


def write_bundle(folder: Path, entries: dict[str, bytes], data: bytes) -> Path:
    """Write a SavedModel's variables; the keys are sorted, as TensorFlow needs them."""
    listed = [(0, key.encode(), entries[key]) for key in sorted(entries)]
    return write_index(folder, table(block(listed)), data)


def write_index(folder: Path, index: bytes, data: bytes) -> Path:
    place = folder / "variables"
    place.mkdir(parents=True)
    (place / "variables.index").write_bytes(index)
    (place / "variables.data-00000-of-00001").write_bytes(data)
    return folder


Piece = tuple[bytes, float, int]
"""A piece of a SentencePiece model: text, score, type (1 normal, 2 unknown, 3 control)."""
PIECES: list[Piece] = [
    (b"<unk>", 0.0, 2), (b"<s>", 0.0, 3), (b"</s>", 0.0, 3), ("▃".encode(), 0.0, 4),
    (b"<sep>", 0.0, 4), (b"<pad>", 0.0, 4), (b"<mask>", 0.0, 4), (b"<eod>", 0.0, 4),
    ("▁".encode(), -1.0, 1), ("今天".encode(), -2.0, 1), ("天".encode(), -3.0, 1),
    ("气".encode(), -3.5, 1), (b"hello", -4.0, 1),
]  # fmt: skip


def piece(text: bytes, score: float, kind: int) -> bytes:
    (bits,) = struct.unpack("<I", struct.pack("<f", score))
    return message(1, message(1, text), fixed32(2, bits), number(3, kind))


def sentencepiece_model(pieces: list[Piece] = PIECES, *more: bytes, kind: int = 1) -> bytes:
    """A ModelProto: pieces, the trainer's settings (3: kind of model), the normalizer's."""
    settings = message(2, number(3, kind), number(4, len(pieces)))
    return b"".join(piece(*each) for each in pieces) + settings + message(3) + b"".join(more)
