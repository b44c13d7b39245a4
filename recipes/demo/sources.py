"""Read the corpus directory: every collection becomes clean documents in simplified Chinese.

Knows the collections' formats; does not know which documents are duplicates or held out.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Document", "poems", "read", "sections"]

STOP = "，。！？；：、,!?;:"
HEADER_LINES = 2
"""A poem's header is at most a title and an author."""


@dataclass(frozen=True)
class Document:
    """A text that is kept, dropped or held out as a whole."""

    kind: str
    text: str


@functools.cache
def _converter() -> Any:
    from opencc import OpenCC

    return OpenCC("t2s")


def _simplified(text: str) -> str:
    return str(_converter().convert(text))


def _clean(text: str) -> str:
    """Remove markup, pinyin glosses, damaged characters, and the spaces beside quotes."""
    text = re.sub(r"</?[a-z]+/?>", "\n", text)
    text = re.sub(r"[a-zāáǎàōóǒòēéěèīíǐìūúǔùǖǘǚǜüɡ]*[āáǎàōóǒòēéěèīíǐìūúǔùǖǘǚǜ][a-zɡ]*", "", text)
    text = re.sub(r"[\u3000\t\r \ufeff�]+", "", text)
    return re.sub(r"\n{2,}", "\n", text).strip()


def poems(text: str) -> Iterator[str]:
    """Yield each poem of a file as its title, author and body, the body on one line.

    Poems are separated by empty lines. The lines before the first one with punctuation
    are the header; a block that is only a header is the title of the next poem.
    """
    title: list[str] = []
    for block in re.split(r"\n\s*\n", text):
        lines = [line.strip() for line in block.splitlines() if line.strip()]
        start = next((i for i, line in enumerate(lines) if any(c in STOP for c in line)), None)
        if start is None:
            title = lines[:1]
            continue
        start = min(start, HEADER_LINES)
        body = "".join(line if line[-1] in STOP else line + "。" for line in lines[start:])
        if len(body) >= 8 and "�" not in block and "□" not in block:
            yield "\n".join([*title, *lines[:start], body])
        title = []


def sections(text: str, characters: int) -> Iterator[str]:
    """Split prose between paragraphs into sections of at least `characters`."""
    parts: list[str] = []
    size = 0
    for paragraph in filter(None, text.split("\n")):
        parts.append(paragraph)
        size += len(paragraph)
        if size >= characters:
            yield "\n".join(parts)
            parts, size = [], 0
    if size > characters // 4:
        yield "\n".join(parts)


def _primer(node: Any, title: str = "") -> Iterator[str]:
    """Walk a file of `mengxue-json`: every node with paragraphs is a document."""
    if isinstance(node, list):
        for item in node:
            yield from _primer(item)
    elif isinstance(node, dict):
        title = str(node.get("chapter") or node.get("title") or title or "")
        paragraphs = node.get("paragraphs")
        if isinstance(paragraphs, list) and all(isinstance(line, str) for line in paragraphs):
            author = re.sub(r"（.*?）", "", str(node.get("author") or ""))
            body = "".join(paragraphs) if len(paragraphs[0]) < 40 else "\n".join(paragraphs)
            yield "\n".join(filter(None, [title, author, body]))
        for value in node.values():
            if isinstance(value, list):
                yield from _primer(value)


def _prose(directory: Path, kind: str, characters: int) -> Iterator[Document]:
    for path in sorted(directory.glob("*.txt")):
        for section in sections(_clean(_simplified(path.read_text("utf-8"))), characters):
            yield Document(kind, section)


def _pairs(path: Path) -> Iterator[Document]:
    """Sentence pairs, four to a document; half with the English, half without."""
    rows = [line.split("\t")[:2] for line in path.read_text("utf-8").splitlines() if line]
    for start in range(0, len(rows), 4):
        both = start % 8 == 0
        group = [(english, _simplified(chinese)) for english, chinese in rows[start : start + 4]]
        yield Document("pairs", "\n".join(f"{e} {c}" if both else c for e, c in group))


def _riddles(path: Path) -> Iterator[Document]:
    rows = json.loads(path.read_text("utf-8"))
    for start in range(0, len(rows), 4):
        group = rows[start : start + 4]
        lines = (f"{row['riddle']}——{row['answer']}。" for row in group)
        yield Document("riddle", _clean(_simplified("\n".join(lines))))


def _dialogues(directory: Path) -> Iterator[Document]:
    for path in sorted(directory.glob("*.json")):
        for exchanges in json.loads(path.read_text("utf-8")).values():
            for lines in exchanges:
                yield Document("dialogue", "\n".join(lines))


def read(corpus: Path, section_characters: int) -> Iterator[Document]:
    """Yield every document of the corpus, the better edition of a text before the others."""
    for path in sorted((corpus / "mengxue-json").glob("*.json")):
        for text in _primer(json.loads(path.read_text("utf-8"))):
            yield Document("primer", _clean(_simplified(text)))
    for folder in ("poetry", "poetry-traditional"):
        for path in sorted((corpus / folder).glob("*.txt")):
            text = _simplified(path.read_text("utf-8"))
            yield from (Document("poem", poem) for poem in poems(text))
    for folder, kind in (
        ("luxun", "modern"),
        ("novels", "novel"),
        ("classical-prose", "classical"),
        ("laws", "law"),
    ):
        yield from _prose(corpus / folder, kind, section_characters)
    yield from _pairs(corpus / "modern" / "tatoeba-cmn-eng.tsv")
    yield from _riddles(corpus / "xiehouyu.json")
    yield from _dialogues(corpus / "dialogue")
