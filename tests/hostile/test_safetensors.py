"""Safetensors files that are wrong in one field each, or are made to cost much."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.hostile.harness import Case, Server, check
from tests.hostile.models import HEADER, VALUES, header, write_weights

FIRST = "wte.weight"
"""The first tensor: 8 x 4 float32 at 0 to 128."""
NESTED = "[" * 100_000


def text(name: str, data: str | bytes, error: str | None, values: bytes = VALUES) -> Case:
    """A case of a header as it is."""
    return Case(name=name, make=lambda folder: write_weights(folder, data, values), error=error)


def field(name: str, key: str, value: Any, error: str | None) -> Case:
    """A case of one value of one tensor's description."""
    entries = header()
    entries[FIRST][key] = value
    return text(name, json.dumps(entries), error)


def raw(name: str, key: str, value: str, error: str | None) -> Case:
    """A case of one value that Python's JSON would not write."""
    entries = header()
    entries[FIRST][key] = "HERE"
    return text(name, json.dumps(entries).replace('"HERE"', value), error)


def metadata(name: str, value: str, error: str | None) -> Case:
    return text(name, HEADER.replace('{"format": "pt"}', value), error)


def bytes_of(name: str, content: bytes, error: str) -> Case:
    def make(folder: Path) -> Path:
        write_weights(folder)
        (folder / "model.safetensors").write_bytes(content)
        return folder

    return Case(name=name, make=make, error=error)


MANY = ", ".join(
    f'"t{i}": {{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}' for i in range(15_000)
)
CASES = [
    text("sound", HEADER, None),
    text("padded", HEADER + " " * 500, None),
    bytes_of("empty file", b"", "is empty"),
    bytes_of("seven bytes", b"\7" * 7, "truncated or not a safetensors file"),
    bytes_of("size of 2^64 - 1", b"\xff" * 8 + b"{}", "truncated or not a safetensors file"),
    bytes_of("size of 0", bytes(16), "truncated or not a safetensors file"),
    bytes_of("a web page", b"<!DOCTYPE html><html>", "a web page"),
    text("not an object", "[]" + " " * 99, "it is not an object"),
    text("empty header", "{}", "is damaged", VALUES),
    text("not UTF-8", b'{"\xff": 1}', "can't decode byte"),
    text("byte order mark", "\ufeff" + HEADER, "it is not an object"),
    text("UTF-16", HEADER.encode("utf-16"), "can't decode byte"),
    text("nested lists", NESTED, "it is not an object"),
    text("nested objects", '{"a":' * 100_000, "is not one of a tensor"),
    text("many small lists", "{" + '"a":[' + "[]," * 300_000 + "[]]}", "is not one of a tensor"),
    text("half a string", '{"' + "a" * 900_000, "expected the name of a tensor"),
    text("half an escape", '{"' + "\\" * 900_001, "expected the name of a tensor"),
    text("no comma", HEADER.replace("}, ", "} ", 1), "expected a comma"),
    text("two headers", HEADER + HEADER, "goes on after its end"),
    text("a name twice", HEADER.replace('"wpe.weight"', '"wte.weight"'), "occurs twice"),
    text(
        "a name twice, one escaped",
        HEADER.replace('"wpe.weight"', '"\\u0077te.weight"'),
        "occurs twice",
    ),
    text(
        "a name of control characters", HEADER.replace("wpe.weight", "\\u001b]0;x\\u0007"), "print"
    ),
    text("a name that turns the text", HEADER.replace("wpe.weight", "\\u202ewpe"), "not printable"),
    text("half a character in a name", HEADER.replace("wpe.weight", "\\ud800"), "half a character"),
    text("a long name", HEADER.replace("wpe.weight", "w" * 500_000), "too long"),
    text("an empty name", HEADER.replace("wpe.weight", ""), "does not match"),
    text("15,000 tensors of no size", "{" + MANY + "}", "problems", b""),
    text("values missing", HEADER, "expected", VALUES[:-1]),
    text("values left over", HEADER, "is damaged", VALUES + b"\0"),
    field("number format unknown", "dtype", "F7", "number format F7"),
    field("number format of control characters", "dtype", "\x1b[2J", "number format"),
    field("number format a number", "dtype", 1, "wrong type"),
    field("number format a list", "dtype", ["F32"], "wrong type"),
    field("number format null", "dtype", None, "wrong type"),
    field("number format long", "dtype", "F" * 900, "number format"),
    field("shape a number", "shape", 32, "wrong type"),
    field("shape null", "shape", None, "wrong type"),
    field("shape of floats", "shape", [8.0, 4], "has the shape"),
    field("shape of booleans", "shape", [True, 32], "has the shape"),
    field("shape of texts", "shape", ["8", "4"], "has the shape"),
    field("shape of lists", "shape", [[8, 4]], "has the shape"),
    field("shape negative", "shape", [-8, -4], "has the shape"),
    field("shape beside zero", "shape", [2**47, 2**47, 0], "too large"),
    field("shape of 2^63", "shape", [2**63], "has the shape"),
    field("shape of nine axes", "shape", [1] * 7 + [8, 4], "9 axes"),
    field("shape of 300 axes", "shape", [1] * 300, "axes"),
    field("shape another", "shape", [4, 8], "has shape (4, 8)"),
    raw("shape of 5,000 digits", "shape", "[" + "9" * 800 + "]", "an integer of 800 digits"),
    raw("shape infinite", "shape", "[Infinity]", "no number of JSON"),
    raw("shape 1e999", "shape", "[1e999]", "out of range"),
    raw("shape of exponents", "shape", "[8e0, 4]", "has the shape"),
    raw("a long description", "shape", "[" + "1," * 100_000 + "1]", "too long"),
    raw("a key twice", "shape", '[8, 4], "shape": [8, 4]', "occurs twice"),
    raw("a key too many", "shape", '[8, 4], "x": 1', "expected dtype, shape and data_offsets"),
    field("offsets overlap", "data_offsets", [0, 64], "offsets"),
    field("offsets with a gap", "data_offsets", [64, 192], "offsets"),
    field("offsets turned", "data_offsets", [128, 0], "offsets"),
    field("offsets negative", "data_offsets", [-128, 0], "offsets"),
    field("offsets of 2^64", "data_offsets", [2**64, 2**64 + 128], "offsets"),
    field("offsets of floats", "data_offsets", [0.0, 128.0], "offsets"),
    field("offsets of booleans", "data_offsets", [False, True], "offsets"),
    field("three offsets", "data_offsets", [0, 64, 128], "offsets"),
    field("offsets a text", "data_offsets", "0, 128", "wrong type"),
    field("offsets null", "data_offsets", None, "wrong type"),
    metadata("metadata large", '{"a": "' + "x" * 900_000 + '"}', None),
    metadata("metadata of braces", '{"a": "}{][\\\\\\""}', None),
    metadata("metadata null", "null", "not an object of texts"),
    metadata("metadata a list", "[]", "not an object of texts"),
    metadata("metadata of numbers", '{"a": 1}', "no text"),
    metadata("metadata of lists", '{"a": [' + "[]," * 300_000 + "[]]}", "not an object of texts"),
    metadata("metadata twice", '{}, "__metadata__": {}', "occurs twice"),
    metadata("metadata with a name twice", '{"a": "b", "a": "b"}', "occurs twice"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_safetensors(case: Case, server: Server, tmp_path: Path) -> None:
    check(server, case, tmp_path)


def test_a_header_of_96_mb_of_lists_costs_in_proportion(server: Server, tmp_path: Path) -> None:
    """It took 3 GB; it may take its own size a few times."""
    write_weights(tmp_path, b'{"a":[' + b"[]," * 32_000_000 + b"[]]}")
    outcome = server.read(tmp_path)
    assert (outcome.kind, outcome.ours) == ("CheckpointError", True)
    assert outcome.memory < 4 * 96e6
    assert outcome.cpu < 6
