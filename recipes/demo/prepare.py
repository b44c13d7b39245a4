"""From a corpus directory to what training reads, in a work directory.

train.jsonl       every training document, in training order: {"kind": ..., "text": ...}
held_out.jsonl    the documents set aside
tokenizer/        chinese_vocab.model
first.npy         uint16, the first phase's ids, each document closed by <eod>
second.npy        the second phase's
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
from jaxtyping import UInt16

from cpm_lm.tokenizer import Tokenizer
from recipes.demo.pieces import encode, train_tokenizer
from recipes.demo.settings import Settings
from recipes.demo.sources import Document
from recipes.demo.texts import phase_text, sort_out, write_documents

__all__ = ["prepare"]


def prepare(corpus: Path, work: Path, settings: Settings) -> dict[str, object]:
    """Write everything that training reads, and return its figures."""
    work.mkdir(parents=True, exist_ok=True)
    usable, aside = sort_out(corpus, settings)
    write_documents(aside, work / "held_out.jsonl")
    read: list[Document] = []
    left: list[Document] = []
    tokens = unknown = 0
    for number, phase in enumerate(settings.phases):
        text, usable = phase_text(usable, left, phase.mix, settings, settings.seed + number)
        if not number:
            train_tokenizer(text, work / "tokenizer", settings)
        # The last id is only predicted.
        ids = encode(text, work / "tokenizer")[: phase.tokens + 1]
        np.save(work / f"ids-{number + 1}.npy", ids)
        begun = _documents_begun(ids, work / "tokenizer")
        read += text[:begun]
        left = text[begun:]
        tokens += len(ids)
        unknown += int((ids == 0).sum())
    write_documents(read, work / "train.jsonl")
    characters: Counter[str] = Counter()
    for document in read:
        characters[document.kind] += len(document.text)
    return {
        "training_documents": len(read),
        "training_characters": dict(sorted(characters.items())),
        "training_tokens": tokens,
        "unknown_tokens": unknown,
        "held_out_documents": dict(sorted(Counter(d.kind for d in aside).items())),
    }


def _documents_begun(ids: UInt16[np.ndarray, " n"], tokenizer: Path) -> int:
    """Return how many documents a text's ids touch."""
    (end,) = Tokenizer.load(tokenizer).end_ids
    return int((ids == end).sum()) + int(ids[-1] != end)
