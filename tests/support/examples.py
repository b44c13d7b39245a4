"""How many examples a law is tested on; CPM_EXAMPLES multiplies them.

`make quick` takes a tenth of them, `make slow` a hundred times as many.
"""

from __future__ import annotations

import os

FACTOR = float(os.environ.get("CPM_EXAMPLES", "1"))


def examples(count: int = 100) -> int:
    """Return the number of examples where `count` is enough for `make test`; at least one."""
    return max(1, round(count * FACTOR))
