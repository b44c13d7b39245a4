"""How the tests of the command line call it and read what it prints."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from click.testing import Result

Run = Callable[..., Result]


def parsed(result: Result) -> Any:
    """What was printed, which must be one JSON document and nothing else."""
    return json.loads(result.stdout)
