"""Bar charts in a terminal, with text of East Asian width.

Knows text and numbers; does not know votes or models.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence

from cpm_lm.display import columns, shortened, visible

__all__ = ["chart", "columns", "shortened", "terminal_width", "visible"]

BAR = 30
"""The columns of the longest bar."""
LEAST_BAR = 5
"""A bar of fewer columns shows nothing."""


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
