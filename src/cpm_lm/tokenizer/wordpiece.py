"""The tokenizer of GPT2-Chinese and UER-py: BERT's WordPiece, with one of several text styles.

Knows how ids become text; does not know the vocabulary's files (`wordpiece_files`) or how the
tokenizers library is set up (`wordpiece_library`). Trainers used the same vocabulary with different
special pieces around a text: `text_style` lists them.
Sources: tokenizations/tokenization_bert.py, train.py and generate.py of GPT2-Chinese.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, SupportsIndex

from cpm_lm.languages import tr
from cpm_lm.tokenizer.base import NOTHING, Decoder, Tokenizer
from cpm_lm.tokenizer.beginnings import Beginnings
from cpm_lm.tokenizer.text_style import STYLES
from cpm_lm.tokenizer.text_style_files import KEY
from cpm_lm.tokenizer.wordpiece_files import WordPieces, read_wordpieces, wordpiece_files
from cpm_lm.tokenizer.wordpiece_library import wordpiece_library

__all__ = ["WordPieceTokenizer"]

CONTINUATION_MARK = "##"
UNKNOWN = "⁇"
SURROGATES = dict.fromkeys(range(0xD800, 0xE000), UNKNOWN)
"""A lone surrogate (from undecodable bytes) has no UTF-8 encoding, so it is unknown."""
HAN = re.compile(
    "[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U00020000-\U0002a6df\U0002a700-\U0002ceaf\U0002f800-\U0002fa1f]"
)
"""The characters that are single words, as listed in BERT's code."""


class WordPieceTokenizer(Tokenizer):
    """BERT's WordPiece tokenizer.

    Ids do not record most spaces and, in most text styles, newlines. Decoding restores only the
    spaces between two words of letters, where the text must have had one. Encoding needs the
    tokenizers library; decoding and reading a vocabulary do not.
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
        self.special_ids = {self._pieces[i]: i for i in (*special.values(), *self._controls)}
        self.vocab_size = len(self._pieces)
        self.prefix_ids = tuple(special[role] for role in style.before)
        self.end_ids = frozenset([special[style.end]])
        self.pad_id = special.get("pad")
        self._characters = set(" ").union(*(self.text(i)[0] for i in range(self.vocab_size)))
        self._characters.discard(UNKNOWN)

    @staticmethod
    def files_in(directory: Path) -> tuple[str, ...]:
        """Return the names of the vocabulary files; empty if there are none."""
        return wordpiece_files(directory)

    @classmethod
    def read(cls, directory: Path, text_style: str | None = None) -> WordPieceTokenizer:
        """Read `vocab.txt` or `tokenizer.json`, and the settings beside it.

        Raises:
            TokenizerError: files are missing, damaged, or of another kind.
        """
        tokenizer = cls(read_wordpieces(directory, text_style))
        if not tokenizer.text_style_evidence:
            tokenizer.note = tr(
                "{directory} does not record a text style; assumed {text_style} ([CLS] "
                "before a prompt, [SEP] ends a text). Record it: cpm convert {directory} "
                "NEW --text-style {text_style}, or {styles}",
                directory=directory,
                text_style=tokenizer.text_style,
                styles=", ".join(name for name in STYLES if name != tokenizer.text_style),
            )
        return tokenizer

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text; none is a special token, whatever the text contains.

        In some text styles a newline has an id. Thread-safe.

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
        # The library splits at brackets, so only a special piece without them can occur here.
        return [self._unknown if i in self._controls else i for i in ids]

    def decode(self, ids: Iterable[SupportsIndex]) -> str:
        """Return the text of ids, with spaces between words of letters. See `Tokenizer.decode`."""
        decoder = self.decoder()
        return "".join([decoder.feed(token) for token in ids])

    def decoder(self, after: Iterable[SupportsIndex] = NOTHING) -> Decoder:
        """Return an incremental decoder, which holds nothing back."""
        return _SpacingDecoder(self, after)

    def piece(self, token: SupportsIndex) -> str:
        """Return the piece of an id for display, `##` included."""
        return self._pieces[self._index(token)]

    def unknown_count(self, ids: Iterable[SupportsIndex]) -> int:
        """Return the number of unknown ids."""
        return sum(token.__index__() == self._unknown for token in ids)

    def word_part(self, token: SupportsIndex) -> tuple[str, bool]:
        """Return the text of an id, and whether it begins a word."""
        text, continues = self.text(token)
        return text, not continues

    def beginnings(
        self, path: Sequence[int] = (), after: Iterable[SupportsIndex] = NOTHING
    ) -> Beginnings:
        """Return what each id adds to a text: with a space, if a word begins behind another."""
        decoder = _SpacingDecoder(self, after)
        for token in path:
            decoder.feed(token)
        return self._beginnings[decoder.in_word]

    @functools.cached_property
    def _beginnings(self) -> dict[bool, Beginnings]:
        """What each id adds behind a word of letters, and elsewhere."""
        result = {}
        for in_word in (False, True):
            texts = []
            for i in range(self.vocab_size):
                decoder = _SpacingDecoder(self, NOTHING)
                decoder.in_word = in_word
                texts.append(decoder.feed(i))
            result[in_word] = Beginnings(texts, self.silent)
        return result

    def splits_word(self, prompt: str) -> bool:
        """Return whether the last character is a letter or a digit, but not a single word."""
        last = prompt[-1:]
        return last.isalnum() and not self.is_single_word(last)

    def is_single_word(self, character: str) -> bool:
        """Return whether a character is a single word: Chinese, punctuation, or a split digit."""
        if character == "\n" or (self._split_digits and character.isdigit()):
            return True
        if HAN.match(character) or unicodedata.category(character).startswith("P"):
            return True
        return character.isascii() and character.isprintable() and not character.isalnum()

    def as_generated(self, text: str) -> str:
        """Return a stop string in the form that is generated, or "" if no model can generate it.

        A stop string may begin or end within a word. So it is not split into pieces; it is
        possible if the vocabulary has all its characters.
        """
        text = text.translate(SURROGATES)
        lines = text.split("\n") if self._line_end is not None else [text]
        result = "\n".join(self._line_as_generated(line) for line in lines)
        return result if set(result) <= self._characters else ""

    def _line_as_generated(self, line: str) -> str:
        result = ""
        for i, part in enumerate(self._added_words.split(line)):
            for word in [self._spelling(part)] if i % 2 else self._words_of(part):
                spaced = result and not any(map(self.is_single_word, (result[-1], word[0])))
                result += f" {word}" if spaced else word
        return result

    def _spelling(self, part: str) -> str:
        """Return the added token that a part of a text matches, which decodes as it is spelled."""
        if part in self._words:
            return part
        # Lower case does not unite all letters that ignoring case does, such as "s" and "ſ".
        return next((word for word in self._words if word.lower() == part.lower()), part)

    def _words_of(self, text: str) -> list[str]:
        normalized = self._library.normalizer.normalize_str(text)
        return [word for word, _ in self._library.pre_tokenizer.pre_tokenize_str(normalized)]

    @functools.cached_property
    def _added_words(self) -> re.Pattern[str]:
        """A pattern, in one group, for added tokens that are text; the longest matches first."""
        tokens = [token for token in self._vocabulary.added if not token.special]
        ignore_case = "(?i:{})" if self._vocabulary.lowercase else "{}"
        patterns = [
            (ignore_case if token.normalized else "{}").format(re.escape(token.content))
            for token in sorted(tokens, key=lambda token: -len(token.content))
        ]
        return re.compile(f"({'|'.join(patterns)})" if patterns else "(?!)")

    @functools.cached_property
    def _library(self) -> Any:
        return wordpiece_library(self._vocabulary, split_digits=self._split_digits)

    def text_after(self, token: SupportsIndex, before: str) -> str:
        """Return what an id adds to a text that ends in `before`, with a space between words."""
        text, continues = self.text(token)
        if not text or not before or continues:
            return text
        spaced = not any(map(self.is_single_word, (before[-1], text[0])))
        return f" {text}" if spaced else text

    def text(self, token: SupportsIndex) -> tuple[str, bool]:
        """Return the text of an id, and whether it continues a word.

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


class _SpacingDecoder(Decoder):
    """Inserts a space between two words of letters, where the text must have had one."""

    def __init__(self, tokenizer: WordPieceTokenizer, after: Iterable[SupportsIndex]) -> None:
        self._tokenizer = tokenizer
        self.in_word = False
        for token in reversed(list(after)):
            text, _ = tokenizer.text(token)
            if text:
                self.in_word = not tokenizer.is_single_word(text[-1])
                break

    def feed(self, token: SupportsIndex) -> str:
        text, continues = self._tokenizer.text(token)
        if not text:
            return ""
        space = self.in_word and not continues and not self._tokenizer.is_single_word(text[0])
        self.in_word = not self._tokenizer.is_single_word(text[-1])
        return f" {text}" if space else text

    def flush(self) -> str:
        return ""
