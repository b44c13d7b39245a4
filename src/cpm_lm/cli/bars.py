"""Bar charts in a terminal: what a text looks like there and how many columns it takes."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Sequence

__all__ = ["bars", "columns", "shortened", "visible"]

BAR = 30
"""Columns of the longest bar."""


def visible(text: str) -> str:
    """Return a text as one visible word: a line end as \\n, spaces in quotes."""
    escaped = json.dumps(text, ensure_ascii=False)
    return escaped if text != text.strip() and text.strip("\n") else escaped[1:-1]


def columns(text: str) -> int:
    """Return how many columns a terminal gives to a text; East Asian characters take two."""
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text
    )


def shortened(text: str, most: int) -> str:
    """Return a text cut to this many columns, with … where it was cut."""
    if columns(text) <= most:
        return text
    while columns(text) > most - 1:
        text = text[:-1]
    return text + "…"


def bars(rows: Sequence[tuple[str, float, str]]) -> list[str]:
    """Return a line for each (name, value, figures); the greatest value has the longest bar."""
    largest = max((value for _, value, _ in rows), default=0.0) or 1.0
    names = max((columns(name) for name, _, _ in rows), default=0)
    figures = max((columns(text) for _, _, text in rows), default=0)
    return [
        f"{name}{' ' * (names - columns(name))}  {' ' * (figures - columns(text))}{text}  "
        f"{'█' * round(BAR * value / largest)}".rstrip()
        for name, value, text in rows
    ]
