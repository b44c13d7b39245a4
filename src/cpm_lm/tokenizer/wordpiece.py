"""The tokenizer of GPT2-Chinese: BERT's WordPiece, `[CLS]` before a text and `[SEP]` after it.

Knows how a text is encoded and decoded; does not know the vocabulary's files (`wordpiece_files`).
Source: tokenizations/tokenization_bert.py of GPT2-Chinese; the tokenizers library gives the same
pieces.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import Any, SupportsIndex

from cpm_lm.errors import TokenizerError
from cpm_lm.tokenizer.base import NOTHING, Decoder, Tokenizer
from cpm_lm.tokenizer.wordpiece_files import WordPieces, read_wordpieces, wordpiece_files

__all__ = ["WordPieceTokenizer"]

CONTINUATION_MARK = "##"
UNKNOWN = "⁇"
MAX_WORD_LETTERS = 100
"""The length of the longest word that is split into pieces; a longer one is unknown, as in BERT."""

SURROGATES = dict.fromkeys(range(0xD800, 0xE000), UNKNOWN)
"""A lone surrogate (from undecodable bytes) has no UTF-8 encoding, so it is unknown."""
HAN = re.compile(
    "[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U00020000-\U0002a6df\U0002a700-\U0002ceaf\U0002f800-\U0002fa1f]"
)
"""The characters that are single words, as listed in BERT's code."""


class WordPieceTokenizer(Tokenizer):
    """BERT's WordPiece tokenizer.

    Ids do not record newlines and spaces. Decoding restores only the spaces between two words of
    letters, where the text must have had one. Encoding needs the tokenizers library; decoding and
    reading a vocabulary do not.
    """

    def __init__(self, vocabulary: WordPieces) -> None:
        self._vocabulary = vocabulary
        self._pieces = vocabulary.pieces
        special = vocabulary.special
        self._unknown = special["unk"]
        self._controls = frozenset(special.values()) - {self._unknown}
        self.vocab_size = len(self._pieces)
        self.prefix_ids = (special["cls"],)
        self.end_ids = frozenset([special["sep"]])
        self.pad_id = special.get("pad")
        self._characters = set(" ").union(*(self.text(i)[0] for i in range(self.vocab_size)))
        self._characters.discard(UNKNOWN)

    @staticmethod
    def files_in(directory: Path) -> tuple[str, ...]:
        """Return the names of the vocabulary files; empty if there are none."""
        return wordpiece_files(directory)

    @classmethod
    def read(cls, directory: Path) -> WordPieceTokenizer:
        """Read `vocab.txt` or `tokenizer.json`, and `tokenizer_config.json` if it is there.

        Raises:
            TokenizerError: files are missing, damaged, or of another kind.
        """
        return cls(read_wordpieces(directory))

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text; none is a special token, whatever the text contains.

        Thread-safe.

        Raises:
            TokenizerError: the tokenizers library is not installed.
        """
        text = text.translate(SURROGATES)
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

    def splits_word(self, prompt: str) -> bool:
        """Return whether the last character is a letter or a digit, but not Chinese."""
        return prompt[-1:].isalnum() and not HAN.match(prompt[-1:])

    def as_generated(self, text: str) -> str:
        """Return a stop string in the form that is generated, or "" if no model can generate it.

        A stop string may begin or end within a word. So it is not split into pieces; it is
        possible if the vocabulary has all its characters.
        """
        normalized = self._library.normalizer.normalize_str(text.translate(SURROGATES))
        result = ""
        for word, _ in self._library.pre_tokenizer.pre_tokenize_str(normalized):
            spaced = result and not _is_single_word(result[-1]) and not _is_single_word(word[0])
            result += f" {word}" if spaced else word
        return result if set(result) <= self._characters else ""

    @functools.cached_property
    def _library(self) -> Any:
        return _library(self._vocabulary)

    def text(self, token: SupportsIndex) -> tuple[str, bool]:
        """Return the text of an id, and whether it continues a word.

        Raises:
            RequestError: the id is not in the vocabulary.
        """
        index = self._index(token)
        if index == self._unknown:
            return UNKNOWN, False
        piece = "" if index in self._controls else self._pieces[index]
        if piece.startswith(CONTINUATION_MARK) and piece != CONTINUATION_MARK:
            return piece.removeprefix(CONTINUATION_MARK), True
        return piece, False


class _SpacingDecoder(Decoder):
    """Inserts a space between two words of letters, where the text must have had one."""

    def __init__(self, tokenizer: WordPieceTokenizer, after: Iterable[SupportsIndex]) -> None:
        self._tokenizer = tokenizer
        self._in_word = False
        for token in reversed(list(after)):
            text, _ = tokenizer.text(token)
            if text:
                self._in_word = not _is_single_word(text[-1])
                break

    def feed(self, token: SupportsIndex) -> str:
        text, continues = self._tokenizer.text(token)
        if not text:
            return ""
        space = self._in_word and not continues and not _is_single_word(text[0])
        self._in_word = not _is_single_word(text[-1])
        return f" {text}" if space else text

    def flush(self) -> str:
        return ""


def _is_single_word(character: str) -> bool:
    """Return whether BERT treats a character as a single word: Chinese or punctuation."""
    if HAN.match(character) or unicodedata.category(character).startswith("P"):
        return True
    return character.isascii() and character.isprintable() and not character.isalnum()


def _library(vocabulary: WordPieces) -> Any:
    try:
        from tokenizers import Tokenizer as Library
        from tokenizers.models import WordPiece
        from tokenizers.normalizers import BertNormalizer
        from tokenizers.pre_tokenizers import BertPreTokenizer
    except ImportError:
        raise TokenizerError(
            "BERT's word pieces need the tokenizers library: pip install 'cpm-lm[bert]'"
        ) from None
    ids = {piece: i for i, piece in enumerate(vocabulary.pieces)}
    unknown = vocabulary.pieces[vocabulary.special["unk"]]
    library: Any = Library(
        WordPiece(ids, unk_token=unknown, max_input_chars_per_word=MAX_WORD_LETTERS)
    )
    library.normalizer = BertNormalizer(
        lowercase=vocabulary.lowercase,
        strip_accents=vocabulary.strip_accents,
        handle_chinese_chars=vocabulary.split_han,
    )
    library.pre_tokenizer = BertPreTokenizer()
    return library
