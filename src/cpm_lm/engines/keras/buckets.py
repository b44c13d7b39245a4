"""The few lengths that calls are padded to, where every new shape costs a compilation."""

from __future__ import annotations

__all__ = ["ROWS", "bucket"]

ROWS = (1, 4, 16, 32, 64, 128, 256)
"""Up to 16 rows a call's time is that of reading the weights; above, it grows with the rows."""


def bucket(count: int) -> int:
    """Return the smallest of ROWS that holds `count` rows."""
    return next(rows for rows in ROWS if rows >= count)
