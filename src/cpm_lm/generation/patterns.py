"""A regular expression that finds the answer in a text: whether it is safe, when it is settled.

Knows expressions and texts; does not know answers.
"""

from __future__ import annotations

import re
from functools import cached_property

from cpm_lm.errors import RequestError
from cpm_lm.generation.pattern_automaton import Automaton
from cpm_lm.generation.pattern_cost import search_steps
from cpm_lm.generation.pattern_text import folded
from cpm_lm.generation.polynomials import steps

__all__ = ["MAX_STEPS", "WINDOW", "AnswerPattern"]

WINDOW = 200
"""Characters that every pattern can look at in bounded time."""
MAX_WINDOW = 1 << 20
"""Characters that no pattern looks beyond."""
MAX_STEPS = 6_000_000
"""The most steps of a search in WINDOW characters: about 20 ms, however the text is made."""
MAX_LONG_STEPS = 2 * MAX_STEPS
"""The same of a longer text; most patterns can look at thousands of characters."""


class AnswerPattern:
    """An expression, checked.

    Args:
        expression: of Python's `re`; its literals are folded like texts, into NFKC.

    Raises:
        RequestError: it does not compile, or backtracking could make it slow.
    """

    def __init__(self, expression: str) -> None:
        try:
            self._text, self._flags = folded(expression)
            self._compiled = re.compile(self._text, self._flags)
            self._steps = search_steps(self._text, self._flags)
        except (re.error, ValueError, OverflowError, RecursionError) as error:
            raise RequestError(
                "the answer's pattern {expression!r} does not compile: {error}",
                expression=expression,
                error=error,
            ) from error
        if steps(self._steps, WINDOW) > MAX_STEPS:
            raise RequestError(
                "the answer's pattern {expression!r} could take very long, because it "
                "can match the same characters in too many ways; say which characters "
                "each repeat takes (\\d+ or [^,]+ rather than .+), and put no repeat "
                "inside a repeat",
                expression=expression,
            )

    def first(self, text: str, *, finished: bool) -> re.Match[str] | None:
        """Return the first match; None where there is none, or more text may change it.

        In a text too long to be looked at, a match that reaches to the cut is none.

        Args:
            text: the text so far, in NFKC.
            finished: whether it is all.
        """
        window = text[: self._longest]
        found = self._compiled.search(window)
        whole = finished and len(window) == len(text)
        return found if found and (whole or self._automaton.settled(window)) else None

    def last(self, text: str) -> re.Match[str] | None:
        """Return the last match in a whole text that is not empty; None where there is none.

        In a text too long to be looked at, a match that begins at the cut is none.
        """
        window = text[-self._longest :]
        found = None
        for match in self._compiled.finditer(window):
            if any(match.groups() if match.re.groups else (match[0],)):
                found = match
        cut = len(window) < len(text) and found is not None and found.start() == 0
        return None if cut else found

    @cached_property
    def _longest(self) -> int:
        """The characters that can be looked at in bounded time."""
        length = WINDOW
        while length < MAX_WINDOW and steps(self._steps, length * 5 // 4) <= MAX_LONG_STEPS:
            length = length * 5 // 4
        return length

    @cached_property
    def _automaton(self) -> Automaton:
        return Automaton(self._text, self._flags)
