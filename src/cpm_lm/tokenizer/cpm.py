"""The tokenizer of CPM: jieba splits a text into words, SentencePiece splits words into pieces.

Knows words and pieces; does not know the vocabulary's files (`cpm_files`) or jieba (`words`).
"""

from __future__ import annotations

import operator
import re
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any, SupportsIndex

from cpm_lm.errors import TokenizerError
from cpm_lm.tokenizer.base import NOTHING, Decoder, Tokenizer
from cpm_lm.tokenizer.cpm_files import (
    CONTROLS,
    END,
    MODEL_FILE,
    NEWLINE,
    PAD,
    SPACE,
    UNKNOWN,
    read_vocabulary,
    text_of,
    vocabulary_files,
)
from cpm_lm.tokenizer.words import words

__all__ = ["CPMTokenizer"]

NONCHARACTER = "\uffff"
"""In no vocabulary, so that it becomes the unknown piece."""

# A literal ▃ must not become a newline, which would forge a line of a few-shot prompt: it is
# unknown. A literal ▂ is a space, as in the original. A lone surrogate (from undecodable bytes) has
# no UTF-8 encoding: it is unknown.
TRANSLATION = {ord(" "): SPACE, ord("\n"): NEWLINE, ord(NEWLINE): NONCHARACTER}
TRANSLATION |= dict.fromkeys(range(0xD800, 0xE000), NONCHARACTER)

WORDS_PER_CALL = 100
"""Words that one call of SentencePiece encodes; see `CPMTokenizer.encode`."""

JOINABLE = re.compile("[0-9A-Za-z\u4e00-\u9fd5]")
"""The characters that jieba may join with a neighbor into one word."""


class CPMTokenizer(Tokenizer):
    """CPM's tokenizer: words by jieba, then pieces by a SentencePiece unigram model.

    Also for models of the same kind, because special pieces are found by name, not by id.

    Args:
        model: a sentencepiece.SentencePieceProcessor.
        vocab: the id of each piece; the ids are 0 to vocab_size - 1, each once.

    Source: data_util/tokenization_gpt2.py of the original (CPM-1-Generate).
    """

    prefix_ids = ()

    def __init__(self, model: Any, vocab: dict[str, int]) -> None:
        self._model = model
        self._pieces = sorted(vocab, key=vocab.__getitem__)
        # Only names of `vocab`: the older model's `<cls>` is `▃` there, which is not special.
        controls = CONTROLS.union(p for p in vocab if model.is_control(model.piece_to_id(p)))
        self._texts = ["" if piece in controls else text_of(piece) for piece in self._pieces]
        self._unknown = vocab[UNKNOWN]
        # Without special pieces, so that a text cannot encode to one: they become unknown.
        self._ids = {p: i for p, i in vocab.items() if p != UNKNOWN and p not in controls}
        self.special_ids = {p: i for p, i in vocab.items() if p in controls}
        self.vocab_size = len(vocab)
        self.end_ids = frozenset([vocab[END]])
        self.pad_id = vocab.get(PAD)

    @staticmethod
    def files_in(directory: Path) -> tuple[str, ...]:
        """Return the names of the vocabulary files; empty if there are none."""
        return vocabulary_files(directory)

    @classmethod
    def read(cls, directory: Path, text_style: str | None = None) -> CPMTokenizer:
        """Read `chinese_vocab.model` and, if it is there, `vocab.json`.

        Raises:
            TokenizerError: files are missing, damaged, or do not fit together; or a text style is
                asked for, of which there is only one.
        """
        if text_style is not None:
            raise TokenizerError(
                "text style {text_style!a} goes with BERT's word pieces (vocab.txt), but "
                "{directory} has {model_file}, whose models have one style; leave it out",
                text_style=text_style,
                directory=directory,
                model_file=MODEL_FILE,
            )
        return cls(*read_vocabulary(directory))

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text; none is a special token, whatever the text contains.

        Thread-safe.

        The original joins all words with spaces and encodes the whole text at once. No piece
        contains a space, so the best pieces of a word do not depend on other words, and a text can
        be encoded in groups of words. Groups are also more precise: after some 9,000 pieces the
        accumulated score is so large that float32 cannot distinguish two segmentations of a word.
        """
        ids: list[int] = []
        remaining = words(text)
        while group := [word.translate(TRANSLATION) for word in islice(remaining, WORDS_PER_CALL)]:
            pieces = self._model.encode(" ".join(group), out_type=str)
            ids += [self._ids.get(piece, self._unknown) for piece in pieces]
        return ids

    def decode(self, ids: Iterable[SupportsIndex]) -> str:
        """Return the text of ids: the texts of their pieces, joined. See `Tokenizer.decode`."""
        return "".join([self._texts[self._index(token)] for token in ids])

    def decoder(self, after: Iterable[SupportsIndex] = NOTHING) -> Decoder:  # noqa: ARG002
        """Return an incremental decoder; `after` is not used, because spaces are pieces."""
        return _Concatenation(self)

    def piece(self, token: SupportsIndex) -> str:
        """Return the text of an id for display, or its name if it has no text."""
        index = self._index(token)
        name = self._pieces[index]
        return name if index == self._unknown else self._texts[index] or name

    def unknown_count(self, ids: Iterable[SupportsIndex]) -> int:
        """Return the number of unknown ids."""
        return sum(operator.index(token) == self._unknown for token in ids)

    def splits_word(self, prompt: str) -> bool:
        """Return whether the last character is Han, a letter or a digit.

        A prompt is encoded apart from its continuation, as in the original, so a word boundary is
        forced between them.
        """
        return JOINABLE.match(prompt[-1:]) is not None


class _Concatenation(Decoder):
    """A decoder for vocabularies in which the text of an id does not depend on other ids."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer

    def feed(self, token: SupportsIndex) -> str:
        return self._tokenizer.decode([token])

    def flush(self) -> str:
        return ""
