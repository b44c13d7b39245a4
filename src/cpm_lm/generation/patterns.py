"""A regular expression for answers: whether its time is bounded, and when a match is certain.

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
"""The characters of a text that a pattern is matched against, which bounds its time."""
MAX_PATHS = (WINDOW + 1) ** 3
"""The maximum number of backtracking paths from one position: that of three open repeats."""


class AnswerPattern:
    """A regular expression whose matching time is bounded.

    Args:
        expression: in the syntax of Python's `re`; its first group, if it has one, is the answer.

    Raises:
        RequestError: it does not compile, or backtracking could take very long.
    """

    def __init__(self, expression: str) -> None:
        try:
            self._compiled = re.compile(expression)
            self._tree: Any = importlib.import_module("re._parser").parse(expression)
        except (re.error, OverflowError, RecursionError) as error:
            raise RequestError(
                f"the answer's pattern {expression!r} does not compile: {error}"
            ) from error
        if _backtracking_paths(self._tree, repeated=False) > MAX_PATHS:
            raise RequestError(
                f"the answer's pattern {expression!r} could take very long; use at most three open "
                "repeats (* + {n,}), with neither repeats nor alternatives inside them"
            )
        self._expression = expression

    def first(self, text: str, *, finished: bool) -> str | None:
        """Return the first match's group; None if there is no match or it may still change.

        Args:
            text: the text so far.
            finished: whether the text is complete.
        """
        window = text[:WINDOW]
        found = self._compiled.search(window)
        complete = finished or len(window) == WINDOW
        if not found or not (complete or self._is_certain(window, found.start())):
            return None
        return found.group(1 if found.re.groups else 0) or ""

    def _is_certain(self, text: str, start: int) -> bool:
        """Return whether the first match, at `start`, is the same whatever text follows.

        It is, if no backtracking path from `start` or further left needs a character beyond the
        end. `_all_paths` tries every path, and a partial match tells that one needs more text.
        Partial matching does not report the characters that a lookaround needs, so a pattern with
        lookarounds is not certain before the end.
        """
        if self._has_lookaround:
            return False
        return not any(self._all_paths.match(text, at, partial=True) for at in range(start + 1))

    @cached_property
    def _has_lookaround(self) -> bool:
        return _has_lookaround(self._tree)

    @cached_property
    def _all_paths(self) -> Any:
        """The expression followed by a failure, so that backtracking tries every path."""
        # Imported here: only votes with a pattern need it.
        return importlib.import_module("regex").compile(f"(?:{self._expression})(*FAIL)")


def _has_lookaround(node: Any) -> bool:
    """Return whether a parsed pattern has a lookahead, a lookbehind, `$` or a word boundary."""
    name = str(node[0]) if isinstance(node, tuple) and node else ""
    if name.startswith("ASSERT") or (name == "AT" and "BEGINNING" not in str(node[1])):
        return True
    parts = node if isinstance(node, list | tuple) or hasattr(node, "data") else ()
    return any(_has_lookaround(part) for part in parts)


def _backtracking_paths(node: Any, *, repeated: bool) -> float:
    """Return an upper bound of the backtracking paths of a parsed pattern from one position.

    The numbers of choices are multiplied; a choice within a repeat has no useful bound.
    """
    name = str(node[0]) if isinstance(node, tuple) and node else ""
    if name.endswith("_REPEAT"):
        low, high, body = node[1]
        choices = max(1.0, min(int(high), WINDOW) - int(low) + 1)
        inner = _backtracking_paths(body, repeated=repeated or int(high) > 1)
        return math.inf if repeated and choices > 1 else choices * inner
    if name == "BRANCH":
        choices = math.inf if repeated else float(len(node[1][1]))
        return choices * _backtracking_paths(node[1][1], repeated=repeated)
    parts = node if isinstance(node, list | tuple) or hasattr(node, "data") else ()
    return math.prod((_backtracking_paths(part, repeated=repeated) for part in parts), start=1.0)
