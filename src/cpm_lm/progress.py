"""Progress of a long operation, reported to a callback.

Knows counts; does not know what they count or who displays them.
"""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["Progress", "ProgressCounter"]

Progress = Callable[[int, int], None]
"""Called with the amount done and the total, mostly in bytes."""


class ProgressCounter:
    """Accumulates the amount done and reports it.

    Args:
        total: the total amount; the reported amount never exceeds it.
        report: called at every step; None for no report.
    """

    def __init__(self, total: int, report: Progress | None) -> None:
        self.done = 0
        self._total, self._report = total, report

    def add(self, size: int) -> None:
        """Add the amount done since the last call; negative if work must be repeated."""
        self.done = min(self.done + size, self._total)
        if self._report is not None:
            self._report(self.done, self._total)
