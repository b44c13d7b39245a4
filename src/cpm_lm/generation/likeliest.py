"""A list of what may follow a prompt, and what is to be said about the prompt.

Knows lists; does not know tokens or characters.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from cpm_lm.display import ResultList

__all__ = ["Likeliest"]

Item = TypeVar("Item")


class Likeliest(ResultList[Item]):
    """A list, the likeliest first."""

    note: str
    """Advice about the prompt, a line each; usually empty."""
    rows: int
    """Forward rows computed."""

    def __init__(self, items: Iterable[Item], *, note: str = "", rows: int = 0) -> None:
        super().__init__(items)
        self.note = note
        self.rows = rows
