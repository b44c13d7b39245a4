"""The tokenizers library, set up to cut texts as a vocabulary of BERT's word pieces asks.

Knows the library; does not know text styles, nor how ids become text.
"""

from __future__ import annotations

import functools
import sys
from typing import Any

from cpm_lm.errors import TokenizerError
from cpm_lm.tokenizer.added_tokens import FLAGS
from cpm_lm.tokenizer.wordpiece_files import WordPieces

__all__ = ["wordpiece_library"]

MAX_WORD_LETTERS = 100
"""Letters of the longest word that is cut into pieces; a longer one is unknown, as to BERT."""


def wordpiece_library(vocabulary: WordPieces, *, split_digits: bool) -> Any:
    """Return a tokenizers.Tokenizer whose ids are those of a vocabulary.

    Special tokens are added, so that every id is what it is to the library, but not looked for in
    a text.

    Args:
        vocabulary: the pieces, and how a text is prepared.
        split_digits: whether every digit is a word of its own.

    Raises:
        TokenizerError: the tokenizers library is not installed.
    """
    try:
        import tokenizers
        from tokenizers import models, normalizers, pre_tokenizers
    except ImportError:
        raise TokenizerError(
            "BERT's word pieces need the tokenizers library: pip install 'cpm-lm[bert]'"
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

    The library counts pieces to number what is added. A piece that stands on several lines has the
    last one's id; on the others lies what no text can contain, since it is cut at line ends.
    """
    lines = vocabulary.pieces[: vocabulary.lines]
    last = {piece: i for i, piece in enumerate(lines)}
    return {piece if last[piece] == i else f"\n{i}": i for i, piece in enumerate(lines)}


@functools.cache
def _digits() -> str:
    """Return an expression for what GPT2-Chinese's code takes for a digit: `str.isdigit`."""
    return f"[{''.join(filter(str.isdigit, map(chr, range(sys.maxunicode + 1))))}]"
