"""The family of GPT2-Chinese: BERT's word pieces, `[CLS]` before a text and `[SEP]` behind it.

Knows how a text is cut and put together again; the vocabulary's files have their own module.
Sources: tokenizations/tokenization_bert.py of GPT2-Chinese; the tokenizers library cuts as it does.
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
"""Letters of the longest word that is cut into pieces; a longer one is unknown, as to BERT."""

SURROGATES = dict.fromkeys(range(0xD800, 0xE000), UNKNOWN)
"""Half a pair (from undecodable bytes) has no encoding at all, so it is unknown."""
HAN = re.compile(
    "[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U00020000-\U0002a6df\U0002a700-\U0002ceaf\U0002f800-\U0002fa1f]"
)
"""The characters that are words of their own, as BERT's code lists them."""


class WordPieceTokenizer(Tokenizer):
    """BERT's word pieces.

    A text comes back without what its ids do not say: line ends, and all spaces but those between
    two words of letters, where there must have been one. Encoding needs the tokenizers library;
    the rest, such as checking a vocabulary, does not.
    """

    def __init__(self, vocabulary: WordPieces) -> None:
        self._vocabulary = vocabulary
        self._pieces = vocabulary.pieces
        special = vocabulary.special
        self._unknown = special["unk"]
        self._controls = frozenset(special.values()) - {self._unknown}
        self.special_ids = {self._pieces[i]: i for i in special.values()}
        self.vocab_size = len(self._pieces)
        self.prefix_ids = (special["cls"],)
        self.end_ids = frozenset([special["sep"]])
        self.pad_id = special.get("pad")
        self._letters = set(" ").union(*(self.text(i)[0] for i in range(self.vocab_size)))
        self._letters.discard(UNKNOWN)

    @staticmethod
    def files_in(directory: Path) -> tuple[str, ...]:
        """Return the names of such a vocabulary's files; empty: none is there."""
        return wordpiece_files(directory)

    @classmethod
    def read(cls, directory: Path) -> WordPieceTokenizer:
        """Read `vocab.txt` or `tokenizer.json`, and `tokenizer_config.json` if it is there.

        Raises:
            TokenizerError: files are missing, damaged, or of another kind.
        """
        return cls(read_wordpieces(directory))

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text; none of them is a special token, whatever the text says.

        Safe to call from several threads at once.

        Raises:
            TokenizerError: the tokenizers library is not installed.
        """
        text = text.translate(SURROGATES)
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
        """Say whether the last character is a letter or a digit; Chinese characters stand alone."""
        return prompt[-1:].isalnum() and not HAN.match(prompt[-1:])

    def as_generated(self, text: str) -> str:
        """Return a stop string as it would be drawn, or nothing if no model can draw it.

        It need not be made of whole words, so it is not cut into pieces; only its letters count.
        """
        plain = self._library.normalizer.normalize_str(text.translate(SURROGATES))
        drawn = ""
        for word, _ in self._library.pre_tokenizer.pre_tokenize_str(plain):
            parted = drawn and not _stands_alone(drawn[-1]) and not _stands_alone(word[0])
            drawn += f" {word}" if parted else word
        return drawn if set(drawn) <= self._letters else ""

    @functools.cached_property
    def _library(self) -> Any:
        return _library(self._vocabulary)

    def text(self, token: SupportsIndex) -> tuple[str, bool]:
        """Return what an id stands for, and whether it goes on within a word.

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


class _Spacing(Decoder):
    """Puts a space where BERT must have seen one: between two words, neither of them one sign."""

    def __init__(self, tokenizer: WordPieceTokenizer, after: Iterable[SupportsIndex]) -> None:
        self._tokenizer = tokenizer
        self._in_word = False
        for token in reversed(list(after)):
            text, _ = tokenizer.text(token)
            if text:
                self._in_word = not _stands_alone(text[-1])
                break

    def feed(self, token: SupportsIndex) -> str:
        text, goes_on = self._tokenizer.text(token)
        if not text:
            return ""
        space = self._in_word and not goes_on and not _stands_alone(text[0])
        self._in_word = not _stands_alone(text[-1])
        return f" {text}" if space else text

    def flush(self) -> str:
        return ""


def _stands_alone(character: str) -> bool:
    """Say whether BERT makes a character a word of its own: Chinese, or punctuation."""
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
