"""Helpers that run the command line and parse its output."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from click.testing import Result

Run = Callable[..., Result]


def parsed(result: Result) -> Any:
    """The printed JSON document; other output is an error."""
    return json.loads(result.stdout)
