"""Bar charts in a terminal, with text of East Asian width.

Knows text and numbers; does not know votes or models.
"""

from __future__ import annotations

from collections.abc import Sequence

from cpm_lm.display import columns, shortened, visible

__all__ = ["bars", "columns", "shortened", "visible"]

BAR = 30
"""The columns of the longest bar."""


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
