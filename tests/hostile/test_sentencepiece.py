"""SentencePiece models and vocabulary files that are wrong in one field each."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.hostile.harness import Case, Server, check
from tests.hostile.wire import PIECES, Piece, message, number, sentencepiece_model
from tests.support.tiny_bert import PIECES as WORDPIECES

MODEL = "chinese_vocab.model"


def model(name: str, data: bytes, error: str | None) -> Case:
    def make(folder: Path) -> Path:
        (folder / MODEL).write_bytes(data)
        return folder

    return Case(name=name, make=make, error=error, read="tokenizer")


def pieces(name: str, changed: list[Piece], error: str | None) -> Case:
    return model(name, sentencepiece_model(changed), error)


def with_piece(name: str, error: str | None, *added: Piece) -> Case:
    return pieces(name, [*PIECES, *added], error)


def lines(name: str, data: bytes, error: str | None) -> Case:
    def make(folder: Path) -> Path:
        (folder / "vocab.txt").write_bytes(data)
        return folder

    return Case(name=name, make=make, error=error, read="tokenizer")


def ids(name: str, values: object, error: str | None) -> Case:
    def make(folder: Path) -> Path:
        (folder / MODEL).write_bytes(sentencepiece_model())
        (folder / "vocab.json").write_text(json.dumps(values))
        return folder

    return Case(name=f"vocab.json {name}", make=make, error=error, read="tokenizer")


def special(
    name: str, put: Callable[[Path], object], file: str, error: str | None, read: str
) -> Case:
    """A case of something that is no regular file under the name of one."""

    def make(folder: Path) -> Path:
        (folder / "vocab.txt").write_text("".join(f"{piece}\n" for piece in WORDPIECES))
        put(folder / file)
        return folder / file if read == "aliases" else folder

    return Case(name=name, make=make, error=error, read=read)


def aliases(name: str, data: bytes, error: str | None) -> Case:
    def make(folder: Path) -> Path:
        (folder / "aliases").write_bytes(data)
        return folder / "aliases"

    return Case(name=f"aliases {name}", make=make, error=error, read="aliases")


NORMAL = "二".encode()
OWN = {text.decode(): i for i, (text, _, _) in enumerate(PIECES)}
SPM = sentencepiece_model()
GOOD = "".join(f"{piece}\n" for piece in WORDPIECES).encode()
MANY = [(f"p{i}".encode(), -5.0, 1) for i in range(45_000)]
CASES = [
    model("sound", SPM, None),
    model("empty", b"", "0 bytes"),
    model("zeros", bytes(1000), "not a SentencePiece model"),
    model("cut", SPM[:-30], "not a SentencePiece model"),
    model("cut within a piece", SPM[:40], "SentencePiece model"),
    model("a field number of 0", SPM + b"\0\0", "not a SentencePiece model"),
    model("a length of 2^63", SPM + b"\x0a" + b"\xff" * 9 + b"\1", "not a SentencePiece model"),
    model("nested groups", SPM + b"\x0b" * 500_000, "not a SentencePiece model"),
    model("unknown fields", SPM + number(100, 1) + message(101, b"x" * 800_000), None),
    model("no pieces", sentencepiece_model([]), "not a SentencePiece model"),
    model("no settings", b"".join([SPM[:20]]), "SentencePiece model"),
    model("a kind of model 9", sentencepiece_model(kind=9), None),
    model("a web page", b"<html>" + SPM, "a web page"),
    with_piece("a piece twice", "SentencePiece model", (b"hello", -1.0, 1)),
    with_piece("a piece that is not UTF-8", "", (b"\xff\xfe", -1.0, 1)),
    with_piece("an empty piece", "SentencePiece model", (b"", -1.0, 1)),
    with_piece("a piece of NUL", "not a SentencePiece model", (b"\0", -1.0, 1)),
    with_piece("a piece of 400 kB", "not a SentencePiece model", (b"x" * 400_000, -1.0, 1)),
    with_piece("a score of NaN", "", (NORMAL, float("nan"), 1)),
    with_piece("an infinite score", "", (NORMAL, float("-inf"), 1)),
    with_piece("a score of 3e38", None, (NORMAL, 3e38, 1)),
    with_piece("a piece of type 7", None, (NORMAL, -1.0, 7)),
    with_piece("a piece of type 2^63", None, (NORMAL, -1.0, 1 << 63)),
    with_piece("a byte", "", (b"<0x41>", -1.0, 6)),
    with_piece("two unknown pieces", "SentencePiece model", (b"<unk2>", 0.0, 2)),
    with_piece("across words", "reaches across words", ("a▁b".encode(), -1.0, 1)),
    with_piece("control characters", None, (b"\x1b[2J", -1.0, 1)),
    with_piece("45,000 pieces", None, *MANY),
    pieces("no unknown piece", PIECES[1:], "SentencePiece model"),
    pieces("no newline", [each for each in PIECES if each[0] != "▃".encode()], "has no piece '▃'"),
    pieces("no end", PIECES[:7] + PIECES[8:], "has no piece '<eod>'"),
    model("a broken map", sentencepiece_model(PIECES, message(3, message(2, b"\xff" * 99))), ""),
    ids("sound", OWN, None),
    ids("a list", [], "not a vocabulary"),
    ids("ids of text", dict.fromkeys(OWN, "1"), "not a vocabulary"),
    ids("ids of booleans", dict.fromkeys(OWN, True), "not a vocabulary"),
    ids("an id twice", {**OWN, "hello": 0}, "does not fit"),
    ids("an id of 2^64", {**OWN, "hello": 2**64}, "does not fit"),
    ids("an id of -1", {**OWN, "hello": -1}, "does not fit"),
    ids("40,000 ids", {f"k{i}": i for i in range(40_000)}, "does not fit"),
    ids("other pieces", {f"\x1b{i}": i for i in range(len(OWN))}, "does not fit"),
    lines("vocab.txt sound", GOOD, None),
    lines("vocab.txt of Windows", GOOD.replace(b"\n", b"\r\n"), None),
    lines("vocab.txt with a byte order mark", b"\xef\xbb\xbf" + GOOD, None),
    lines("vocab.txt empty", b"", "has no piece"),
    lines("vocab.txt not UTF-8", GOOD + b"\xff\n", "not text in UTF-8"),
    lines("vocab.txt in UTF-16", GOOD.decode().encode("utf-16"), "not text in UTF-8"),
    lines("vocab.txt in GB18030", GOOD.decode().encode("gb18030", "replace"), "not text in UTF-8"),
    lines("vocab.txt of one line", b"x" * 900_000, "has no piece"),
    lines("vocab.txt of empty lines", GOOD + b"\n" * 400_000, None),
    lines("vocab.txt of pieces twice", GOOD + b"a\n" * 200_000, None),
    lines("vocab.txt of NUL", bytes(1000), "has no piece"),
    lines("vocab.txt a web page", b"<!doctype html>", "a web page"),
    special("a pipe vocab.txt", os.mkfifo, "tokenizer_config.json", None, "tokenizer"),
    special("a pipe of aliases", os.mkfifo, "aliases", "is a named pipe", "aliases"),
    special("a directory of aliases", os.mkdir, "aliases", "is a directory", "aliases"),
    special(
        "a device of aliases", lambda p: p.symlink_to("/dev/zero"), "aliases", "a device", "aliases"
    ),
    aliases("sound", "中国\tChina\n".encode(), None),
    aliases("empty", b"", None),
    aliases("not UTF-8", b"\xff", "is not UTF-8"),
    aliases("a form twice", b"a\tb\nc\tb\n", "already counts as"),
    aliases("a form of control characters twice", b"a\t\x1b[2J\nc\t\x1b[2J\n", "already counts"),
    aliases("a long form twice", b"a\t" + b"x" * 400_000 + b"\nc\t" + b"x" * 400_000, "already"),
    aliases("90,000 lines", b"".join(b"a%d\tb%d\n" % (i, i) for i in range(60_000)), None),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_vocabularies(case: Case, server: Server, tmp_path: Path) -> None:
    check(server, case, tmp_path)
