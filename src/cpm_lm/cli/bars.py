"""Bar charts in a terminal, with text of East Asian width.

Knows text and numbers; does not know votes or models.
"""

from __future__ import annotations

import json
import shutil
import sys
import unicodedata
from collections.abc import Sequence

__all__ = ["chart", "columns", "shortened", "terminal_width", "visible", "wrapped"]

BAR = 30
"""The columns of the longest bar."""
INVISIBLE = ("Mn", "Me", "Cf")
"""The categories of characters without a column: accents of their own, joiners."""
LEAST_BAR = 5
"""A bar of fewer columns shows nothing."""


def visible(text: str) -> str:
    """Return a text with control characters escaped, in quotes if spaces surround it."""
    escaped = json.dumps(text, ensure_ascii=False)
    return escaped if text != text.strip() and text.strip("\n") else escaped[1:-1]


def columns(text: str) -> int:
    """Return the number of terminal columns of a text; wide East Asian characters take two."""
    return sum(0 if unicodedata.category(c) in INVISIBLE else 2 if _is_wide(c) else 1 for c in text)


def _is_wide(character: str) -> bool:
    return unicodedata.east_asian_width(character) in "WF"


def shortened(text: str, most: int) -> str:
    """Return a text of at most this many columns; a truncated text ends in …."""
    if columns(text) <= most:
        return text
    while columns(text) > most - 1:
        text = text[:-1]
    return text + "…"


def wrapped(text: str, width: int) -> list[str]:
    """Return a text in lines of at most this many columns, broken at spaces where it has some.

    >>> wrapped("the prompt 今天的天空好 ends", 12)
    ['the prompt', '今天的天空好', 'ends']
    >>> wrapped("今天的天空", 4)
    ['今天', '的天', '空']
    """
    lines = [""]
    for word in text.split(" "):
        rest = word
        if lines[-1] and columns(lines[-1]) + 1 + columns(rest) <= width:
            lines[-1] += f" {rest}"
            continue
        if lines[-1]:
            lines.append("")
        for character in rest:
            if lines[-1] and columns(lines[-1]) + columns(character) > width:
                lines.append("")
            lines[-1] += character
    return lines


def chart(
    rows: Sequence[tuple[Sequence[str], float]],
    headings: Sequence[str] = (),
    *,
    width: int | None = None,
) -> list[str]:
    """Return a table, a line for each row, with bars of the rows' values.

    Args:
        rows: the cells of a row, the first aligned left and the others right, and its value.
        headings: the headings of the columns; none by default.
        width: the columns of the terminal: bars that would not fit are shorter, or left out. None
            if there is none: the greatest value has a bar of BAR columns.
    """
    table = [cells for cells, _ in rows]
    if not rows:
        return []
    lines = [headings, *table] if headings else table
    sizes = [max(map(columns, column)) for column in zip(*lines, strict=True)]
    room = min(BAR, (width or 10**6) - sum(sizes) - 2 * len(sizes) - 1)
    largest = max(value for _, value in rows) or 1.0
    printed = [_aligned(headings, sizes)] if headings else []
    for cells, value in rows:
        bar = "█" * round(room * value / largest) if room >= LEAST_BAR else ""
        printed.append(f"{_aligned(cells, sizes)}  {bar}".rstrip())
    return printed


def terminal_width(*, err: bool = False) -> int | None:
    """Return the columns of the terminal that stdout or stderr is, or None if it is none."""
    stream = sys.stderr if err else sys.stdout
    on_terminal = stream is not None and stream.isatty()
    return shutil.get_terminal_size().columns if on_terminal else None


def _aligned(cells: Sequence[str], sizes: Sequence[int]) -> str:
    padded = [
        " " * (size - columns(cell)) * (i > 0) + cell + " " * (size - columns(cell)) * (i == 0)
        for i, (cell, size) in enumerate(zip(cells, sizes, strict=True))
    ]
    return "  ".join(padded).rstrip()
