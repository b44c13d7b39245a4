"""A regular expression that finds the answer in a text: whether it is safe, when it is certain.

Knows expressions and texts; does not know answers. An expression is parsed once.
"""

from __future__ import annotations

import importlib
import math
import re
from functools import cached_property
from typing import Any

from cpm_lm.errors import RequestError

__all__ = ["WINDOW", "AnswerPattern"]

WINDOW = 200
"""Characters of a text that a pattern looks at, so that its time is bounded."""
MAX_WAYS = (WINDOW + 1) ** 3
"""The most ways of matching at one place: those of three open repeats."""


class AnswerPattern:
    """An expression, checked.

    Args:
        expression: of Python's `re`; its first group, if it has one, is the answer.

    Raises:
        RequestError: it does not compile, or backtracking could make it slow without bound.
    """

    def __init__(self, expression: str) -> None:
        try:
            self._compiled = re.compile(expression)
            self._tree: Any = importlib.import_module("re._parser").parse(expression)
        except (re.error, OverflowError, RecursionError) as error:
            raise RequestError(
                f"the answer's pattern {expression!r} does not compile: {error}"
            ) from error
        if _ways(self._tree, repeated=False) > MAX_WAYS:
            raise RequestError(
                f"the answer's pattern {expression!r} could take very long; use at most three open "
                "repeats (* + {n,}), with neither repeats nor alternatives inside them"
            )
        self._expression = expression

    def first(self, text: str, *, finished: bool) -> str | None:
        """Return what the first match finds, or None where there is none or it may still change.

        Args:
            text: the text so far.
            finished: whether it is all.
        """
        window = text[:WINDOW]
        found = self._compiled.search(window)
        settled = finished or len(window) == WINDOW
        if not found or not (settled or self._certain(window, found.start())):
            return None
        return found.group(1 if found.re.groups else 0) or ""

    def _certain(self, text: str, start: int) -> bool:
        """Say whether the first match, at `start`, stays the same whatever text follows.

        It does where no way of matching, here or further left, asks for a character beyond the end:
        made to fail after each way, the pattern tries them all. What looks around may ask without
        telling, and is not certain before the end.
        """
        if self._looks_around:
            return False
        return not any(self._failing.match(text, at, partial=True) for at in range(start + 1))

    @cached_property
    def _looks_around(self) -> bool:
        return _looks_around(self._tree)

    @cached_property
    def _failing(self) -> Any:
        """The expression, made to fail after each way of matching."""
        # Imported here: only votes with a pattern need it.
        return importlib.import_module("regex").compile(f"(?:{self._expression})(*FAIL)")


def _looks_around(node: Any) -> bool:
    """Say whether a parsed pattern has a lookahead, a lookbehind, an end or a word's edge."""
    name = str(node[0]) if isinstance(node, tuple) and node else ""
    if name.startswith("ASSERT") or (name == "AT" and "BEGINNING" not in str(node[1])):
        return True
    parts = node if isinstance(node, list | tuple) or hasattr(node, "data") else ()
    return any(_looks_around(part) for part in parts)


def _ways(node: Any, *, repeated: bool) -> float:
    """Bound the number of ways in which backtracking may try a parsed pattern at one place.

    A choice multiplies the ways; a choice within a repeat has no useful bound.
    """
    name = str(node[0]) if isinstance(node, tuple) and node else ""
    if name.endswith("_REPEAT"):
        low, high, body = node[1]
        ways = max(1.0, min(int(high), WINDOW) - int(low) + 1)
        inner = _ways(body, repeated=repeated or int(high) > 1)
        return math.inf if repeated and ways > 1 else ways * inner
    if name == "BRANCH":
        ways = math.inf if repeated else float(len(node[1][1]))
        return ways * _ways(node[1][1], repeated=repeated)
    parts = node if isinstance(node, list | tuple) or hasattr(node, "data") else ()
    return math.prod((_ways(part, repeated=repeated) for part in parts), start=1.0)
