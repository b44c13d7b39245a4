"""Protocol buffers as bare fields: numbers and bytes, without a schema.

Knows the wire format; does not know any message. Source: protobuf.dev, "Encoding".
"""

from __future__ import annotations

from collections.abc import Iterator

__all__ = ["Fields", "fields", "varint"]

Fields = dict[int, list[int | bytes]]
"""The values of a message by field number, in the order they came."""

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


def varint(data: bytes, at: int) -> tuple[int, int]:
    """Return the number of variable length at a place, and the place after it.

    Raises:
        ValueError: the data ends within it, or it has more than 64 bits.
    """
    value = 0
    for shift in range(0, 64, 7):
        if at >= len(data):
            raise ValueError("the data ends within a number")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("a number has more than 64 bits")


def fields(data: bytes) -> Fields:
    """Return the fields of one message; what they mean is for the caller to say.

    Raises:
        ValueError: the data is no message.
    """
    found: Fields = {}
    for number, value in _walk(data):
        found.setdefault(number, []).append(value)
    return found


def _walk(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    at = 0
    while at < len(data):
        tag, at = varint(data, at)
        kind = tag & 7
        if kind == VARINT:
            value, at = varint(data, at)
            yield tag >> 3, value
            continue
        if kind == BYTES:
            size, at = varint(data, at)
        elif kind in (FIXED32, FIXED64):
            size = 4 if kind == FIXED32 else 8
        else:
            raise ValueError(f"a field has the unknown wire type {kind}")
        if size > len(data) - at:
            raise ValueError("the data ends within a field")
        yield tag >> 3, data[at : at + size]
        at += size
