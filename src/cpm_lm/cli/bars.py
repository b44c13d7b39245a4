"""Bar charts in a terminal, with text of East Asian width.

Knows text and numbers; does not know votes or models.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Sequence

__all__ = ["bars", "columns", "shortened", "visible"]

BAR = 30
"""The columns of the longest bar."""


def visible(text: str) -> str:
    """Return a text with control characters escaped, in quotes if spaces surround it."""
    escaped = json.dumps(text, ensure_ascii=False)
    return escaped if text != text.strip() and text.strip("\n") else escaped[1:-1]


def columns(text: str) -> int:
    """Return the number of terminal columns of a text; wide East Asian characters take two."""
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text
    )


def shortened(text: str, most: int) -> str:
    """Return a text of at most this many columns; a truncated text ends in …."""
    if columns(text) <= most:
        return text
    while columns(text) > most - 1:
        text = text[:-1]
    return text + "…"


def bars(rows: Sequence[tuple[str, float, str]]) -> list[str]:
    """Return one line per (name, value, figures); the greatest value has a bar of BAR columns."""
    largest = max((value for _, value, _ in rows), default=0.0) or 1.0
    names = max((columns(name) for name, _, _ in rows), default=0)
    figures = max((columns(text) for _, _, text in rows), default=0)
    return [
        f"{name}{' ' * (names - columns(name))}  {' ' * (figures - columns(text))}{text}  "
        f"{'█' * round(BAR * value / largest)}".rstrip()
        for name, value, text in rows
    ]
