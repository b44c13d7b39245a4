"""Prepare the training data: from a corpus directory to a work directory.

train.jsonl       every training document, in training order: {"kind": ..., "text": ...}
held_out.jsonl    the held-out documents
tokenizer/        chinese_vocab.model
ids.npy           uint16, the training documents' ids, each document followed by <eod>
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np

from recipes.demo.pieces import encode, train_tokenizer
from recipes.demo.settings import Settings
from recipes.demo.texts import sort_out, training_text, write_documents

__all__ = ["prepare"]


def prepare(corpus: Path, work: Path, settings: Settings) -> dict[str, object]:
    """Write the training data and return its figures."""
    work.mkdir(parents=True, exist_ok=True)
    usable, aside = sort_out(corpus, settings)
    write_documents(aside, work / "held_out.jsonl")
    text = training_text(usable, settings)
    write_documents(text, work / "train.jsonl")
    train_tokenizer(text, work / "tokenizer", settings)
    ids = encode(text, work / "tokenizer")
    np.save(work / "ids.npy", ids)
    characters: Counter[str] = Counter()
    for document in text:
        characters[document.kind] += len(document.text)
    return {
        "training_documents": len(text),
        "training_characters": dict(sorted(characters.items())),
        "training_tokens": len(ids),
        "unknown_tokens": int((ids == 0).sum()),
        "held_out_documents": dict(sorted(Counter(d.kind for d in aside).items())),
    }
