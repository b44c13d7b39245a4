"""How many examples a law is tested on: `make slow` multiplies them by CPM_EXAMPLES."""

from __future__ import annotations

import os

FACTOR = int(os.environ.get("CPM_EXAMPLES", "1"))


def examples(count: int = 100) -> int:
    """The number of examples where `count` is enough for a quick look."""
    return count * FACTOR
