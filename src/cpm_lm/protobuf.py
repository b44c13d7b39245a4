"""Decode protocol buffers without a schema, into integers and bytes by field number.

Knows the wire format; does not know any message type. Source: protobuf.dev, "Encoding".
"""

from __future__ import annotations

from collections.abc import Iterator

from cpm_lm.languages import tr

__all__ = ["Fields", "fields", "varint"]

MOST_FIELDS = 200_000
"""Of one message. The largest known is the object graph of a SavedModel, of some 10,000 nodes."""

Fields = dict[int, list[int | bytes]]
"""The values of a message by field number, in the order of the data."""

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


def varint(data: bytes, at: int) -> tuple[int, int]:
    r"""Decode the varint at an offset; return its value and the offset after it.

    Each byte holds 7 bits, the lowest first; the high bit says that more bytes follow. In 0xAC
    0x02 these are 0x2C and 0x02, so the value is 0x2C + (0x02 << 7):

    >>> varint(b"\xac\x02", 0)
    (300, 2)

    Raises:
        ValueError: the data ends within it, or it has more than 64 bits.
    """
    if at < len(data) and data[at] < 0x80:  # most are one byte
        return data[at], at + 1
    value = 0
    for shift in range(0, 64, 7):
        if at >= len(data):
            raise ValueError(tr("the data ends within a number"))
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if value >> 64:
                break
            return value, at
    raise ValueError(tr("a number has more than 64 bits"))


def fields(data: bytes) -> Fields:
    r"""Return the fields of one message; the caller knows their meaning.

    0x08 is field 1 of type varint, 0x12 is field 2 of type bytes, here with 2 bytes:

    >>> fields(b"\x08\x96\x01\x12\x02hi")
    {1: [150], 2: [b'hi']}

    Raises:
        ValueError: the data is not a valid message.
    """
    found: Fields = {}
    for count, (number, value) in enumerate(_iter_fields(data)):
        if count >= MOST_FIELDS:
            raise ValueError(
                tr("a message has more than {most_fields:,} fields", most_fields=MOST_FIELDS)
            )
        found.setdefault(number, []).append(value)
    return found


def _iter_fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    at = 0
    while at < len(data):
        tag, at = varint(data, at)
        wire_type = tag & 7
        if not 0 < tag >> 3 < 1 << 29:
            raise ValueError(tr("a field has the number {tag}", tag=tag >> 3))
        if wire_type == VARINT:
            value, at = varint(data, at)
            yield tag >> 3, value
            continue
        if wire_type == BYTES:
            size, at = varint(data, at)
        elif wire_type in (FIXED32, FIXED64):
            size = 4 if wire_type == FIXED32 else 8
        else:
            raise ValueError(
                tr("a field has the unknown wire type {wire_type}", wire_type=wire_type)
            )
        if size > len(data) - at:
            raise ValueError(tr("the data ends within a field"))
        yield tag >> 3, data[at : at + size]
        at += size
