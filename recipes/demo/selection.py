"""Choose documents: drop duplicates, hold some out, take an amount of each kind.

Every choice depends only on the text of the document, so a larger corpus or another order does not
move a document from the held-out part into the training text.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from recipes.demo.sources import Document

__all__ = ["choose", "common_characters", "fingerprint", "held_out", "legible", "unique"]

SENTENCE_CHARACTERS = 5
"""Shorter sentences may be equal by chance and do not indicate a duplicate."""


PROSE = ("modern", "novel", "classical", "law")


def _characters(text: str) -> str:
    """Return the letters, digits and Han characters, which two editions of a text share."""
    return re.sub(r"[\W_]+", "", text)


def fingerprint(text: str) -> int:
    """Return 64 bits that are equal for texts equal up to punctuation and spacing."""
    digest = hashlib.blake2b(_characters(text).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def unique(documents: Iterable[Document], overlap: float) -> Iterator[Document]:
    """Yield documents of which at most the share `overlap` of sentences occurred before."""
    seen: set[int] = set()
    for document in documents:
        parts = (_characters(part) for part in re.split(r"[\n。！？；，,;!?]", document.text))
        sentences = {hash(part) for part in parts if len(part) >= SENTENCE_CHARACTERS}
        if len(sentences & seen) <= overlap * len(sentences):
            yield document
        seen |= sentences


def common_characters(documents: Iterable[Document], count: int) -> frozenset[str]:
    """Return the `count` most frequent characters, the line end among them."""
    counts: Counter[str] = Counter("\n")
    for document in documents:
        counts.update(document.text)
    return frozenset(character for character, _ in counts.most_common(count))


def legible(document: Document, characters: frozenset[str]) -> Document | None:
    """Return a document without the sentences that have other characters, or None.

    Prose loses only those sentences; a poem or another short text is dropped as a whole. Rare
    characters all become <unk>; so the model never learns to generate <unk>.
    """
    if characters.issuperset(document.text):
        return document
    if document.kind not in PROSE:
        return None
    sentences = re.findall(r"[^。！？\n]*[。！？\n”]*", document.text)
    text = "".join(part for part in sentences if characters.issuperset(part)).strip()
    return Document(document.kind, text) if text else None


def held_out(document: Document, percent: float) -> bool:
    """Return whether a document is held out."""
    return fingerprint(document.text) % 10_000 < 100 * percent


def choose(documents: Iterable[Document], characters: Mapping[str, int]) -> list[Document]:
    """Take documents in the order of their fingerprints until each kind has its amount."""
    taken = Counter[str]()
    chosen = []
    for document in sorted(documents, key=lambda document: fingerprint(document.text)):
        if taken[document.kind] < characters.get(document.kind, 0):
            taken[document.kind] += len(document.text)
            chosen.append(document)
    return chosen
