"""CPM's own family: words by jieba, each word to pieces by SentencePiece.

Knows how a text is cut; the vocabulary's files and the words have their own modules.
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

NEVER = "\uffff"
"""Not a character, hence in no vocabulary: what stands for it becomes the unknown piece."""

# A typed ▃ would forge a line end in a few-shot prompt, so it is unknown; a typed ▂ is the space
# it was to the original. Half a surrogate pair (from undecodable bytes) has no encoding at all.
TRANSLATION = {ord(" "): SPACE, ord("\n"): NEWLINE, ord(NEWLINE): NEVER}
TRANSLATION |= dict.fromkeys(range(0xD800, 0xE000), NEVER)

WORDS_AT_ONCE = 100

JOINABLE = re.compile("[0-9A-Za-z\u4e00-\u9fd5]")
"""The characters that jieba may join to their neighbours to make a word."""


class CPMTokenizer(Tokenizer):
    """CPM's own: words by jieba, each word to pieces by a SentencePiece unigram model.

    Also for models of the same kind: special pieces are found by name, not by number.

    Args:
        model: a sentencepiece.SentencePieceProcessor.
        vocab: id by piece; the ids are 0 to vocab_size - 1, each once.

    Source: data_util/tokenization_gpt2.py of the original (CPM-1-Generate).
    """

    prefix_ids = ()

    def __init__(self, model: Any, vocab: dict[str, int]) -> None:
        self._model = model
        self._pieces = sorted(vocab, key=vocab.__getitem__)
        # What the old model calls `<cls>` is not one of `vocab`'s names, and so is not one here.
        controls = CONTROLS.union(p for p in vocab if model.is_control(model.piece_to_id(p)))
        self._texts = ["" if piece in controls else text_of(piece) for piece in self._pieces]
        self._unknown = vocab[UNKNOWN]
        # What is not in here becomes the unknown id; no special piece is.
        self._ids = {p: i for p, i in vocab.items() if p != UNKNOWN and p not in controls}
        self.vocab_size = len(vocab)
        self.end_ids = frozenset([vocab[END]])
        self.pad_id = vocab.get(PAD)

    @staticmethod
    def files_in(directory: Path) -> tuple[str, ...]:
        """Return the names of such a vocabulary's files; empty: none is there."""
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
                f"text style {text_style!a} goes with BERT's word pieces (vocab.txt), but "
                f"{directory} has {MODEL_FILE}, whose models have one style; leave it out"
            )
        return cls(*read_vocabulary(directory))

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text; none of them is a special token, whatever the text says.

        Safe to call from several threads at once.

        The original joins the words with spaces and encodes the whole text. No piece reaches
        across a space, so the best pieces of a word do not depend on the words beside it, and a
        text may be encoded a few words at a time. That is also more exact: over some 9,000 pieces
        the sum of scores grows until float32 no longer tells two ways of cutting a word apart.
        """
        ids: list[int] = []
        remaining = words(text)
        while some := [word.translate(TRANSLATION) for word in islice(remaining, WORDS_AT_ONCE)]:
            pieces = self._model.encode(" ".join(some), out_type=str)
            ids += [self._ids.get(piece, self._unknown) for piece in pieces]
        return ids

    def decode(self, ids: Iterable[SupportsIndex]) -> str:
        """Return the text of ids: the texts of their pieces, joined. See `Tokenizer.decode`."""
        return "".join([self._texts[self._index(token)] for token in ids])

    def decoder(self, after: Iterable[SupportsIndex] = NOTHING) -> Decoder:  # noqa: ARG002
        """Return an incremental decoder; pieces know their own spaces, whatever came before."""
        return _Concatenation(self)

    def piece(self, token: SupportsIndex) -> str:
        """Return one id's text, or its name if it stands for no text, for display."""
        index = self._index(token)
        name = self._pieces[index]
        return name if index == self._unknown else self._texts[index] or name

    def unknown_count(self, ids: Iterable[SupportsIndex]) -> int:
        """Return how many of the ids are the unknown piece."""
        return sum(operator.index(token) == self._unknown for token in ids)

    def splits_word(self, prompt: str) -> bool:
        """Say whether the last character is Han, a letter or a digit.

        A continuation is encoded apart from its prompt, as the original did, so a word boundary
        is forced between them.
        """
        return JOINABLE.match(prompt[-1:]) is not None


class _Concatenation(Decoder):
    """A decoder for vocabularies in which every id has its own text."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer

    def feed(self, token: SupportsIndex) -> str:
        return self._tokenizer.decode([token])

    def flush(self) -> str:
        return ""
