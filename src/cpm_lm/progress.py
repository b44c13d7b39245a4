"""How far a long piece of work is, told while it goes on.

Knows numbers; does not know what they count or who shows them.
"""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["Progress", "ProgressCounter"]

Progress = Callable[[int, int], None]
"""Called with what is done and what there is in all, mostly in bytes."""


class ProgressCounter:
    """Adds up what is done and reports it.

    Args:
        total: what there is in all; more than that is never reported.
        report: called at every step; None to report to nobody.
    """

    def __init__(self, total: int, report: Progress | None) -> None:
        self.done = 0
        self._total, self._report = total, report

    def add(self, size: int) -> None:
        """Add what has been done since the last call; less than 0 where work is done again."""
        self.done = min(self.done + size, self._total)
        if self._report is not None:
            self._report(self.done, self._total)
