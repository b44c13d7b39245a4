"""A text that may not come, as a table over token ids: which token may not follow which state.

Knows states and ids; does not know text: `generation.banning` makes the table from the texts of
the tokens. State j says that the path ends in the first j characters of the text, and in no more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

__all__ = ["BannedText"]


@dataclass(frozen=True, kw_only=True, eq=False)
class BannedText:
    """The states of one text, and the tokens that would complete it in each."""

    completing: Sequence[Sequence[int]]
    """The ids banned in each state."""
    moves: Sequence[Mapping[int, int]]
    """For each state, the next state of the tokens that do not lead to state 0."""
    start: int = 0

    def after(self, state: int, token: int) -> int:
        """Return the state after one more token."""
        return self.moves[state].get(token, 0)

    def banned(self, state: int) -> Sequence[int]:
        """Return the ids that would complete the text."""
        return self.completing[state]
