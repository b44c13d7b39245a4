"""Banned texts as tables over token ids, so that no way of writing one with tokens is left.

Knows tokenizers and texts; does not know how the tables are used.

A text has several id paths: as one token or several, with and without a word mark, as the end of
one token and the beginning of the next, or within a longer token. The table knows for each prefix
of the text which tokens would complete it, and to which prefix each other token leads: the
automaton of Knuth, Morris and Pratt, over the characters of tokens.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from cpm_lm.decoding.banned_text import BannedText
from cpm_lm.errors import RequestError
from cpm_lm.tokenizer import Tokenizer

__all__ = ["banned_texts"]


def banned_texts(tokenizer: Tokenizer, texts: Iterable[str]) -> list[BannedText]:
    """Return the table of each text, in the form in which the model writes it.

    Raises:
        RequestError: a text can never appear in the output, or is the name of a special token.
    """
    plain = {_as_written(tokenizer, text): None for text in texts}
    if not plain:
        return []
    wanted = frozenset("".join(plain))
    every = range(tokenizer.vocab_size)
    spelled = {token: tokenizer.text_after(token, "") for token in every}
    silent = [token for token, text in spelled.items() if not text]
    relevant = [token for token, text in spelled.items() if not wanted.isdisjoint(text)]
    return [_table(tokenizer, text, relevant, silent) for text in plain]


def _as_written(tokenizer: Tokenizer, text: str) -> str:
    if text in tokenizer.special_ids:
        raise RequestError(
            "ban {text!r} is the name of a special token, which never appears in a "
            "text; ban its id, {special_ids}, or use ignore_eos against end tokens",
            text=text,
            special_ids=tokenizer.special_ids[text],
        )
    if not (plain := tokenizer.as_generated(text)):
        raise RequestError(
            "ban {text!r} is no sequence of tokens, so it can never appear in the "
            "output: the vocabulary lacks it; leave it out",
            text=text,
        )
    return plain


def _table(
    tokenizer: Tokenizer, text: str, relevant: Sequence[int], silent: Sequence[int]
) -> BannedText:
    """Return the table of a text.

    Args:
        tokenizer: of the model.
        text: as the model writes it.
        relevant: the tokens that have one of its characters.
        silent: the tokens without text, after which every state stays as it is.
    """
    completing: list[list[int]] = []
    moves: list[Mapping[int, int]] = []
    for state in range(len(text)):
        before = text[:state]
        to = dict.fromkeys(silent, state) if state else {}
        completing.append([])
        for token in relevant:
            path = before + tokenizer.text_after(token, before)
            if text in path:
                completing[-1].append(token)
            if (after := _overlap(path, text)) > 0:
                to[token] = after
        moves.append(to)
    return BannedText(completing=completing, moves=moves)


def _overlap(path: str, text: str) -> int:
    """Return the length of the longest end of a path that begins a text and is not all of it.

    >>> _overlap("上海北", "北京")
    1
    """
    longest = min(len(path), len(text) - 1)
    return next((k for k in range(longest, 0, -1) if path.endswith(text[:k])), 0)
