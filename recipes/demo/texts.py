"""The training text: its documents, their order and their files.

Knows sources, selection and the generators; does not know pieces or ids.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Iterator
from pathlib import Path

from recipes.demo import facts, sums
from recipes.demo.selection import choose, common_characters, held_out, legible, unique
from recipes.demo.settings import Mix, Settings
from recipes.demo.sources import Document, read

__all__ = ["generated", "read_documents", "sort_out", "training_text", "write_documents"]


def sort_out(corpus: Path, settings: Settings) -> tuple[list[Document], list[Document]]:
    """Return the documents for training, and the held-out ones.

    A document that contains a held-out sum, in any form, is not trained on.
    """
    hidden = sums.held_out_pairs(settings.held_out_sums, settings.seed)
    usable, aside = [], []
    found = list(unique(read(corpus, settings.section_characters), settings.overlap))
    common = common_characters(found, settings.common_characters)
    for document in filter(None, (legible(document, common) for document in found)):
        if held_out(document, settings.held_out_percent):
            aside.append(document)
        elif not sums.mentioned_pairs(document.text) & hidden:
            usable.append(document)
    return usable, aside


def training_text(usable: list[Document], settings: Settings) -> list[Document]:
    """Return the chosen documents and the generated ones, shuffled."""
    repeats = settings.mix.repeats
    chosen = choose(usable, settings.mix.characters)
    text = [document for document in chosen for _ in range(repeats.get(document.kind, 1))]
    text += generated(settings.mix, settings, settings.seed)
    random.Random(settings.seed).shuffle(text)
    return text


def generated(mix: Mix, settings: Settings, seed: int) -> Iterator[Document]:
    """Yield generated sums and facts."""
    hidden = sums.held_out_pairs(settings.held_out_sums, settings.seed)
    for kind, texts, characters in (
        ("sum", sums.documents(hidden, random.Random(seed)), mix.sum_characters),
        ("sum", sums.small_documents(hidden, random.Random(seed)), mix.small_sum_characters),
        ("fact", facts.documents(random.Random(seed)), mix.fact_characters),
    ):
        yield from _up_to(kind, texts, characters)


def _up_to(kind: str, texts: Iterator[str], characters: int) -> Iterator[Document]:
    while characters > 0:
        text = next(texts)
        characters -= len(text)
        yield Document(kind, text)


def write_documents(documents: Iterable[Document], path: Path) -> None:
    """Write one JSON object a line."""
    with path.open("w", encoding="utf-8") as file:
        for document in documents:
            file.write(json.dumps(vars(document), ensure_ascii=False) + "\n")


def read_documents(path: Path) -> list[Document]:
    """Read what `write_documents` wrote."""
    with path.open(encoding="utf-8") as file:
        return [Document(**json.loads(line)) for line in file]
