"""Sparse edits of logits: how what looks at a path (bias, bans, penalties) reaches an engine.

Knows rows, ids and numbers; does not know why a logit is edited: `decoding.penalties` does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cpm_lm.shapes import Float64, Int32, Int64

__all__ = ["Edits"]


@dataclass(frozen=True, eq=False)
class Edits:
    """One edit for each entry: the logit l of a row and an id becomes f(l) + addend.

    f(l) is l / factor where l > 0, else l * factor, so that a factor above 1 makes every token less
    likely. Where several `Edits` are given, they are applied one after the other. In one of them
    no pair of a row and an id stands twice with different numbers.

    >>> edits = Edits.of([0, 0], [2, 3], factors=[2.0, 2.0], addends=[0.0, -1.0])
    >>> logits = np.array([[0.0, 1.0, 3.0, -3.0]])
    >>> edits.apply(logits)
    >>> logits.tolist()
    [[0.0, 1.0, 1.5, -7.0]]
    """

    rows: Int32[np.ndarray, " E"]
    """Indices of rows, as in the `at` of a want, ascending."""
    ids: Int32[np.ndarray, " E"]
    factors: Float64[np.ndarray, " E"]
    """Above 0; 1 leaves the logit as it is."""
    addends: Float64[np.ndarray, " E"]
    """0 leaves the logit as it is; -inf bans the token."""

    @classmethod
    def of(cls, rows: object, ids: object, factors: object, addends: object) -> Edits:
        """Return the edits of any sequences of numbers."""
        return cls(
            np.asarray(rows, np.int32),
            np.asarray(ids, np.int32),
            np.asarray(factors, np.float64),
            np.asarray(addends, np.float64),
        )

    def part(self, rows: Int64[np.ndarray, " _"]) -> Edits:
        """Return the edits of some rows, which become rows 0, 1, 2 and so on, in this order.

        >>> edits = Edits.of([0, 1, 1, 3], [5, 6, 7, 8], [1, 1, 1, 1], [0, 0, 0, 0])
        >>> some = edits.part(np.array([1, 3]))
        >>> some.rows.tolist(), some.ids.tolist()
        ([0, 0, 1], [6, 7, 8])
        """
        starts, ends = (np.searchsorted(self.rows, rows, side) for side in ("left", "right"))
        counts = ends - starts
        kept = np.arange(counts.sum()) + np.repeat(starts - np.cumsum(counts) + counts, counts)
        new = np.repeat(np.arange(len(rows), dtype=np.int32), counts)
        return Edits(new, self.ids[kept], self.factors[kept], self.addends[kept])

    def apply(self, logits: Float64[np.ndarray, "R V"]) -> None:
        """Edit rows of logits in place."""
        old = logits[self.rows, self.ids]
        scaled = np.where(old > 0, old / self.factors, old * self.factors)
        logits[self.rows, self.ids] = scaled + self.addends
