"""The header of a safetensors file: the name, number format, shape and place of every tensor.

Knows the header's grammar; does not know files or arrays. It is an object of JSON, but it is not
read as any JSON, because a value of nested lists would take thirty times its size in memory: the
description of each tensor is taken by itself, and may not be long. Source: the README of
huggingface/safetensors.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from cpm_lm.checkpoints.dtypes import DTYPES
from cpm_lm.checkpoints.tensors import checked_shape
from cpm_lm.checkpoints.text import one_line
from cpm_lm.errors import CheckpointError
from cpm_lm.json_file import decode_json
from cpm_lm.languages import tr

__all__ = ["HeaderEntry", "parse_header"]

LONGEST_NAME = 1024
LONGEST_ENTRY = 1024
"""Characters of a tensor's description; a real one has some 80."""
LONGEST_METADATA = 16 << 20
"""Characters of the texts that a program may add, such as the settings of a training."""

# Possessive quantifiers (*+), so that no text takes more than linear time.
SPACE = r"[ \t\n\r]*+"
STRING = r'"(?:[^"\\]|\\.)*+"'
FIELD = re.compile(rf"{SPACE}({STRING}){SPACE}:{SPACE}")
ENTRY = re.compile(rf"\{{[^{{}}]{{0,{LONGEST_ENTRY}}}+\}}")
TEXTS = re.compile(rf'\{{(?:[^{{}}\[\]"]|{STRING})*+\}}')
"""An object of texts: `__metadata__`."""
NEXT = re.compile(rf"{SPACE}([,}}])")


@dataclass(frozen=True)
class HeaderEntry:
    """The description of one tensor."""

    dtype: str
    """A key of DTYPES."""
    shape: tuple[int, ...]
    offsets: tuple[int, int]
    """Begin and end in bytes, from the end of the header."""


def parse_header(data: bytes, where: str) -> dict[str, HeaderEntry]:
    """Return the description of every tensor by name.

    Args:
        data: the header.
        where: the file, for messages.

    Raises:
        CheckpointError: it is not a header, a name occurs twice, or a number format is unknown.
    """
    try:
        text = data.decode("utf-8").rstrip(" \t\n\r")
        return dict(_entries(text, where))
    except ValueError as error:
        raise CheckpointError(
            "{where} has a damaged header: {error}", where=where, error=one_line(error)
        ) from None


def _entries(text: str, where: str) -> Iterator[tuple[str, HeaderEntry]]:
    if text[:1] != "{":
        raise ValueError(tr("it is not an object"))
    seen: set[str] = set()
    at, more = 1, re.fullmatch(rf"\{{{SPACE}\}}", text) is None
    while more:
        if not (field := FIELD.match(text, at)):
            raise ValueError(tr("expected the name of a tensor at character {at:,}", at=at))
        name = decode_json(
            field[1], tr("{where}: a name in the header", where=where), CheckpointError
        )
        if name in seen:
            raise ValueError(tr("the name {name!a} occurs twice", name=name[:60]))
        seen.add(name)
        metadata = name == "__metadata__"
        value = (TEXTS if metadata else ENTRY).match(text, field.end())
        if not value or len(value[0]) > LONGEST_METADATA:
            kind = tr("an object of texts") if metadata else tr("one of a tensor")
            raise ValueError(
                tr(
                    "the description of {name!a} is not {kind}, or is too long",
                    name=name[:60],
                    kind=kind,
                )
            )
        if metadata:
            _check_metadata(value[0], where)
        else:
            yield name, _parse_entry(name, value[0], where)
        if not (after := NEXT.match(text, value.end())):
            raise ValueError(tr("expected a comma at character {value:,}", value=value.end()))
        at, more = after.end(), after[1] == ","
        if not more and at != len(text):
            raise ValueError(tr("it goes on after its end"))


def _check_metadata(text: str, where: str) -> None:
    values = decode_json(text, f"{where}: __metadata__", CheckpointError)
    if not all(isinstance(value, str) for value in values.values()):
        raise ValueError(tr("__metadata__ holds a value that is no text"))


def _parse_entry(name: str, text: str, where: str) -> HeaderEntry:
    if len(name) > LONGEST_NAME or not name.isprintable():
        raise ValueError(tr("the name {name!a} is too long, or not printable", name=name[:60]))
    found = decode_json(text, f"{where}: {one_line(name, 60)}", CheckpointError)
    if found.keys() != {"dtype", "shape", "data_offsets"}:
        raise ValueError(
            tr(
                "{name!a} is described by {found}; expected dtype, shape and data_offsets",
                name=name[:60],
                found=one_line(", ".join(sorted(found)), 80),
            )
        )
    dtype, shape, offsets = found["dtype"], found["shape"], found["data_offsets"]
    if not isinstance(dtype, str) or not isinstance(shape, list) or not isinstance(offsets, list):
        raise ValueError(
            tr("dtype, shape or data_offsets of {name!a} has the wrong type", name=name[:60])
        )
    if dtype not in DTYPES:
        raise CheckpointError(
            "{where} holds {name} in the number format {dtype}, which is not "
            "supported; expected one of {dtypes}: get the model in 16 or 32 bits",
            where=where,
            name=one_line(name, 80),
            dtype=one_line(dtype, 40),
            dtypes=", ".join(DTYPES),
        )
    if len(offsets) != 2 or not all(type(n) is int and 0 <= n < 1 << 63 for n in offsets):
        raise ValueError(
            tr("{name!a} has the offsets {offsets}", name=name[:60], offsets=str(offsets)[:80])
        )
    return HeaderEntry(dtype, checked_shape(shape, DTYPES[dtype].itemsize), tuple(offsets))
