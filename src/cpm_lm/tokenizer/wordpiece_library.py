"""Set up the tokenizers library for a WordPiece vocabulary.

Knows the library; does not know text styles or decoding.
"""

from __future__ import annotations

import functools
import sys
from typing import Any

from cpm_lm.errors import TokenizerError
from cpm_lm.installation import pip_install
from cpm_lm.tokenizer.added_tokens import FLAGS
from cpm_lm.tokenizer.wordpiece_files import WordPieces

__all__ = ["wordpiece_library"]

MAX_WORD_LETTERS = 100
"""The length of the longest word that is split into pieces; a longer one is unknown, as in BERT."""


def wordpiece_library(vocabulary: WordPieces, *, split_digits: bool) -> Any:
    """Return a tokenizers.Tokenizer with the ids of a vocabulary.

    Special tokens are added too, because the library numbers added tokens in order, but they are
    not matched in a text.

    Args:
        vocabulary: the pieces and the normalization.
        split_digits: whether every digit is a single word.

    Raises:
        TokenizerError: the tokenizers library is not installed.
    """
    try:
        import tokenizers
        from tokenizers import models, normalizers, pre_tokenizers
    except ImportError:
        raise TokenizerError(
            "BERT's word pieces need the tokenizers library: {command}",
            command=pip_install("bert"),
        ) from None
    library: Any = tokenizers.Tokenizer(
        models.WordPiece(
            _ids(vocabulary),
            unk_token=vocabulary.pieces[vocabulary.special["unk"]],
            max_input_chars_per_word=MAX_WORD_LETTERS,
        )
    )
    library.normalizer = normalizers.BertNormalizer(
        lowercase=vocabulary.lowercase,
        strip_accents=vocabulary.strip_accents,
        handle_chinese_chars=vocabulary.split_han,
    )
    library.pre_tokenizer = bert = pre_tokenizers.BertPreTokenizer()
    if split_digits:
        alone = pre_tokenizers.Split(tokenizers.Regex(_digits()), "isolated")
        library.pre_tokenizer = pre_tokenizers.Sequence([bert, alone])
    library.add_tokens(
        [
            tokenizers.AddedToken(token.content, **{name: getattr(token, name) for name in FLAGS})
            for token in vocabulary.added
        ]
    )
    library.encode_special_tokens = True
    return library


def _ids(vocabulary: WordPieces) -> dict[str, int]:
    """Return the ids of the model's own pieces.

    The first added token gets the number of pieces as its id, so each line must be one piece. A
    piece on several lines has the id of the last. The other lines get a placeholder with a newline,
    which no word contains.
    """
    lines = vocabulary.pieces[: vocabulary.lines]
    last = {piece: i for i, piece in enumerate(lines)}
    return {piece if last[piece] == i else f"\n{i}": i for i, piece in enumerate(lines)}


@functools.cache
def _digits() -> str:
    """Return an expression for the digits of GPT2-Chinese's code, which uses `str.isdigit`."""
    return f"[{''.join(filter(str.isdigit, map(chr, range(sys.maxunicode + 1))))}]"
