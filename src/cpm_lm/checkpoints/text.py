"""Text from files, sanitized for error messages.

Knows strings; does not know files.
"""

from __future__ import annotations

import os
from collections.abc import Sized

from cpm_lm.languages import tr

__all__ = ["described", "one_line"]

MAX_BITS = 256
"""Of an integer that a message shows: to write a longer one takes quadratic time."""


def one_line(text: object, limit: int = 200) -> str:
    r"""Return one printable ASCII line of at most `limit` characters.

    A file may hold any text: line breaks or terminal control codes are escaped. What is no text and
    no number is described by its type and length, because a small file may hold an object whose
    text is endless.

    >>> one_line("a\nb\x1b[31m")
    'a\\nb\\x1b[31m'
    >>> one_line(["a", "b"])
    'a list of 2'
    """
    if not isinstance(text, str):
        plain = isinstance(text, BaseException | os.PathLike | float | bool) or text is None
        short = isinstance(text, int) and text.bit_length() <= MAX_BITS
        text = str(text) if plain or short else described(text)
    return ascii(text[:limit])[1:-1][:limit]


def described(value: object) -> str:
    """Return the type and the length of any object, and nothing of its content.

    >>> described({1: 2}), described(1 << 70), described("text"), described(None)
    ('a dict of 1', 'an integer of 71 bits', 'a text of 4 characters', 'a NoneType')
    """
    if isinstance(value, str):
        return tr("a text of {n_value:,} characters", n_value=len(value))
    if isinstance(value, int):
        return tr("an integer of {value:,} bits", value=value.bit_length())
    if isinstance(value, Sized):
        return tr("a {name} of {n_value:,}", name=type(value).__name__, n_value=len(value))
    return f"a {type(value).__name__}"
