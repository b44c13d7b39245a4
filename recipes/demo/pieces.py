"""Train the tokenizer, and encode texts to ids, on all cores."""

from __future__ import annotations

import multiprocessing
from functools import cache
from itertools import islice
from pathlib import Path

import numpy as np
from sentencepiece import SentencePieceTrainer

from cpm_lm.tokenizer import Tokenizer
from cpm_lm.tokenizer.words import words
from recipes.demo.settings import Settings
from recipes.demo.sources import Document

__all__ = ["encode", "train_tokenizer"]

SPAWN = multiprocessing.get_context("spawn")
"""A forked process may hang if a framework's threads are running; a spawned one does not."""

SPECIAL_PIECES = ["▃", "<sep>", "<pad>", "<mask>", "<eod>"]
"""In this order they get ids 3 to 7, as in CPM's own vocabulary."""
WORD_PIECES = [f"▁{c}" for c in "▂▃,。、!?:;“”《》()·—…0123456789+-="]
"""Characters that are always a word: with the word mark they are one token instead of two."""


def _segmented(text: str) -> list[str]:
    """Return a text's lines as the tokenizer is trained on them.

    Digits are separated, so that a piece has one digit, with or without the word mark, and every
    number is encoded digit by digit. Then the model can learn sums.
    """
    lines = []
    for line in text.split("\n"):
        spaced = " ".join(word.replace(" ", "▂") for word in words(line))
        digits = "".join(f" {c} " if c.isdigit() and c.isascii() else c for c in spaced)
        lines.append(" ".join(digits.split()))
    return [line for line in lines if line]


def train_tokenizer(documents: list[Document], directory: Path, settings: Settings) -> None:
    """Train the tokenizer on the first of the shuffled documents."""
    directory.mkdir(parents=True, exist_ok=True)
    taken, size = [], 0
    for document in documents:
        if size >= settings.tokenizer_characters:
            break
        size += len(document.text)
        taken.append(document.text)
    with SPAWN.Pool() as pool:
        lines = [line for part in pool.imap(_segmented, taken, 64) for line in part]
    SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_prefix=str(directory / "chinese_vocab"),
        vocab_size=settings.pieces,
        model_type="unigram",
        normalization_rule_name="nmt_nfkc",
        character_coverage=1.0,
        required_chars="0123456789",
        unk_id=0,
        bos_id=1,
        eos_id=2,
        pad_id=-1,
        user_defined_symbols=SPECIAL_PIECES + WORD_PIECES,
        max_sentence_length=100_000,
        num_threads=2,  # the order of float sums, and thus the vocabulary, depends on it
        minloglevel=1,
    )
    # The list of pieces is only for people.
    (directory / "chinese_vocab.vocab").unlink()


@cache
def _tokenizer(directory: Path) -> Tokenizer:
    return Tokenizer.load(directory)


def _ids(job: tuple[Path, list[str]]) -> np.ndarray:
    directory, texts = job
    tokenizer = _tokenizer(directory)
    (end,) = tokenizer.end_ids
    ids: list[int] = []
    for text in texts:
        ids += [*tokenizer.encode(text), end]
    return np.array(ids, np.uint16)


def encode(documents: list[Document], directory: Path) -> np.ndarray:
    """Return the ids of all documents, each followed by <eod>, on all cores."""
    texts = iter([document.text for document in documents])
    jobs = [(directory, batch) for batch in iter(lambda: list(islice(texts, 500)), [])]
    with SPAWN.Pool() as pool:
        return np.concatenate(list(pool.imap(_ids, jobs)))
