"""The family of GPT2-Chinese and UER-py: BERT's word pieces, in one of several text styles.

Knows how a text is put together again; the vocabulary's files and the library that cuts a text have
their own modules. What goes before a text and what ends it differs between trainers that use one
and the same vocabulary: `text_style` has the conventions.
Sources: tokenizations/tokenization_bert.py, train.py and generate.py of GPT2-Chinese.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import Any, SupportsIndex

from cpm_lm.tokenizer.base import NOTHING, Decoder, Tokenizer
from cpm_lm.tokenizer.text_style import STYLES
from cpm_lm.tokenizer.text_style_files import KEY
from cpm_lm.tokenizer.wordpiece_files import WordPieces, read_wordpieces, wordpiece_files
from cpm_lm.tokenizer.wordpiece_library import wordpiece_library

__all__ = ["WordPieceTokenizer"]

CONTINUATION_MARK = "##"
UNKNOWN = "⁇"
SURROGATES = dict.fromkeys(range(0xD800, 0xE000), UNKNOWN)
"""Half a pair (from undecodable bytes) has no encoding at all, so it is unknown."""
HAN = re.compile(
    "[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U00020000-\U0002a6df\U0002a700-\U0002ceaf\U0002f800-\U0002fa1f]"
)
"""The characters that are words of their own, as BERT's code lists them."""


class WordPieceTokenizer(Tokenizer):
    """BERT's word pieces.

    A text comes back without what its ids do not say: all spaces but those between two words of
    letters, where there must have been one, and line ends where the text style has none. Encoding
    needs the tokenizers library; the rest, such as checking a vocabulary, does not.
    """

    def __init__(self, vocabulary: WordPieces) -> None:
        self._vocabulary = vocabulary
        self._pieces = vocabulary.pieces
        special = vocabulary.special
        style = STYLES[vocabulary.style.name]
        self._unknown = special["unk"]
        self._line_end = None if style.line_end is None else special[style.line_end]
        self._split_digits = style.split_digits
        self._controls = frozenset(t.id for t in vocabulary.added if t.special) - {self._unknown}
        self._words = {t.content: t.id for t in vocabulary.added if not t.special}
        self.text_style = vocabulary.style.name
        self.text_style_evidence = vocabulary.style.evidence
        self.text_style_record = {KEY: self.text_style} | {
            f"{role}_token": self._pieces[special[role]] for role in sorted(style.roles)
        }
        self.vocab_size = len(self._pieces)
        self.prefix_ids = tuple(special[role] for role in style.before)
        self.end_ids = frozenset([special[style.end]])
        self.pad_id = special.get("pad")
        self._letters = set(" ").union(*(self.text(i)[0] for i in range(self.vocab_size)))
        self._letters.discard(UNKNOWN)

    @staticmethod
    def files_in(directory: Path) -> tuple[str, ...]:
        """Return the names of such a vocabulary's files; empty: none is there."""
        return wordpiece_files(directory)

    @classmethod
    def read(cls, directory: Path, text_style: str | None = None) -> WordPieceTokenizer:
        """Read `vocab.txt` or `tokenizer.json`, and the files beside it that say more.

        Raises:
            TokenizerError: files are missing, damaged, or of another kind.
        """
        tokenizer = cls(read_wordpieces(directory, text_style))
        if not tokenizer.text_style_evidence:
            tokenizer.note = (
                f"{directory} does not say how its texts begin and end; read as those of "
                f"{tokenizer.text_style} models ([CLS] before a prompt, [SEP] ends). Record it: "
                f"cpm convert {directory} NEW --text-style {tokenizer.text_style}, or "
                f"{', '.join(name for name in STYLES if name != tokenizer.text_style)}"
            )
        return tokenizer

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text; none of them is a special token, whatever the text says.

        A line end has an id of its own in some text styles. Safe to call from several threads at
        once.

        Raises:
            TokenizerError: the tokenizers library is not installed.
        """
        text = text.translate(SURROGATES)
        if self._line_end is None:
            return self._encode_line(text)
        first, *rest = text.split("\n")
        ids = self._encode_line(first)
        for line in rest:
            ids += [self._line_end, *self._encode_line(line)]
        return ids

    def _encode_line(self, text: str) -> list[int]:
        ids: list[int] = self._library.encode(text, add_special_tokens=False).ids
        # Only a special piece without brackets could come out of a text.
        return [self._unknown if i in self._controls else i for i in ids]

    def decode(self, ids: Iterable[SupportsIndex]) -> str:
        """Return the text of ids, words of letters parted by spaces. See `Tokenizer.decode`."""
        decoder = self.decoder()
        return "".join([decoder.feed(token) for token in ids])

    def decoder(self, after: Iterable[SupportsIndex] = NOTHING) -> Decoder:
        """Return an incremental decoder, which never holds anything back."""
        return _Spacing(self, after)

    def piece(self, token: SupportsIndex) -> str:
        """Return one id's piece as the vocabulary has it, `##` included, for display."""
        return self._pieces[self._index(token)]

    def unknown_count(self, ids: Iterable[SupportsIndex]) -> int:
        """Return how many of the ids are the unknown piece."""
        return sum(token.__index__() == self._unknown for token in ids)

    def splits_word(self, prompt: str) -> bool:
        """Say whether the last character is a letter or a digit, and no word of its own."""
        last = prompt[-1:]
        return last.isalnum() and not self.stands_alone(last)

    def stands_alone(self, character: str) -> bool:
        """Say whether a character is a word of its own: Chinese, a sign, in some styles a digit."""
        if character == "\n" or (self._split_digits and character.isdigit()):
            return True
        if HAN.match(character) or unicodedata.category(character).startswith("P"):
            return True
        return character.isascii() and character.isprintable() and not character.isalnum()

    def as_generated(self, text: str) -> str:
        """Return a stop string as it would be drawn, or nothing if no model can draw it.

        It need not be made of whole words, so it is not cut into pieces; only its letters count.
        """
        text = text.translate(SURROGATES)
        lines = text.split("\n") if self._line_end is not None else [text]
        drawn = "\n".join(self._line_as_generated(line) for line in lines)
        return drawn if set(drawn) <= self._letters else ""

    def _line_as_generated(self, line: str) -> str:
        drawn = ""
        for i, part in enumerate(self._added_words.split(line)):
            for word in [part] if i % 2 else self._words_of(part):
                parted = drawn and not any(map(self.stands_alone, (drawn[-1], word[0])))
                drawn += f" {word}" if parted else word
        return drawn

    def _words_of(self, text: str) -> list[str]:
        plain = self._library.normalizer.normalize_str(text)
        return [word for word, _ in self._library.pre_tokenizer.pre_tokenize_str(plain)]

    @functools.cached_property
    def _added_words(self) -> re.Pattern[str]:
        """What matches an added token that is text, in a group; the longest of several."""
        longest = sorted(self._words, key=len, reverse=True)
        return re.compile(f"({'|'.join(map(re.escape, longest))})" if longest else "(?!)")

    @functools.cached_property
    def _library(self) -> Any:
        return wordpiece_library(self._vocabulary, split_digits=self._split_digits)

    def text(self, token: SupportsIndex) -> tuple[str, bool]:
        """Return what an id stands for, and whether it goes on within a word.

        Raises:
            RequestError: the id is not in the vocabulary.
        """
        index = self._index(token)
        if index == self._unknown:
            return UNKNOWN, False
        if index == self._line_end:
            return "\n", False
        piece = "" if index in self._controls else self._pieces[index]
        added = self._words.get(piece) == index
        if piece.startswith(CONTINUATION_MARK) and piece != CONTINUATION_MARK and not added:
            return piece.removeprefix(CONTINUATION_MARK), True
        return piece, False


class _Spacing(Decoder):
    """Puts a space where BERT must have seen one: between two words, neither of them one sign."""

    def __init__(self, tokenizer: WordPieceTokenizer, after: Iterable[SupportsIndex]) -> None:
        self._tokenizer = tokenizer
        self._in_word = False
        for token in reversed(list(after)):
            text, _ = tokenizer.text(token)
            if text:
                self._in_word = not tokenizer.stands_alone(text[-1])
                break

    def feed(self, token: SupportsIndex) -> str:
        text, goes_on = self._tokenizer.text(token)
        if not text:
            return ""
        space = self._in_word and not goes_on and not self._tokenizer.stands_alone(text[0])
        self._in_word = not self._tokenizer.stands_alone(text[-1])
        return f" {text}" if space else text

    def flush(self) -> str:
        return ""
