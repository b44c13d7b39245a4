"""The numbers of rows to which calls are padded where XLA compiles each shape separately.

Knows numbers only.
"""

from __future__ import annotations

__all__ = ["ROWS", "bucket"]

ROWS = (1, 4, 16, 32, 64, 128, 256)
"""Few below 16, where reading the weights takes most of the time; above, time grows with rows."""


def bucket(count: int) -> int:
    """Return the smallest number in ROWS that is at least `count`."""
    return next(rows for rows in ROWS if rows >= count)
