"""Whether the first match of an expression can still change with more text.

Knows parsed expressions and texts. A match is settled when no way of matching that has priority
over it could read on beyond the end. All ways are followed at once, in the order of their priority,
character by character; so the time is that of the text times the size of the expression.

Source: R. Cox, "Regular Expression Matching: the Virtual Machine Approach", 2009, Pike's machine.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from cpm_lm.generation.pattern_text import assertion_text, parsed, unit_text

__all__ = ["Automaton"]

MAX_STATES = 4000
"""Of an expression with counted repeats; a larger one is settled at the end of the text only."""


class _UnsettledError(Exception):
    """The expression asks for more than the characters so far, in a way that is not followed."""


@dataclass
class _Reads:
    """A state that reads one character."""

    matches: Callable[[str], Any]
    then: int
    known: dict[str, bool] = field(default_factory=dict)

    def accepts(self, character: str) -> bool:
        if character not in self.known:
            self.known[character] = self.matches(character) is not None
        return self.known[character]


@dataclass
class _Splits:
    """A state that reads nothing and goes on in several ways, the preferred one first."""

    then: list[int]


@dataclass
class _Holds:
    """A state that goes on where something holds of the text before a place."""

    matches: Callable[[str, int], Any]
    then: int


class Automaton:
    """An expression as states.

    Args:
        expression: as `pattern_text.folded` writes it.
        flags: of `re`.
    """

    def __init__(self, expression: str, flags: int) -> None:
        self._states: list[_Reads | _Splits | _Holds | None] = [None]  # 0: it has matched
        try:
            self._start: int | None = self._sequence(parsed(expression, flags), 0, flags)
        except _UnsettledError:
            self._start = None

    def settled(self, text: str) -> bool:
        """Return whether the text has a match, and its first one stays the same with more text."""
        if self._start is None:
            return False
        found, threads = False, list[int]()
        for at in range(len(text) + 1):
            seen = set[int]()
            ready = list[int]()
            for state in threads if found else [*threads, self._start]:
                self._advance(state, text, at, seen, ready)
            if 0 in ready:  # what comes behind it has lost
                found, ready = True, ready[: ready.index(0)]
            if found and not ready:
                return True
            threads = [
                state.then
                for state in map(self._states.__getitem__, ready)
                if isinstance(state, _Reads) and at < len(text) and state.accepts(text[at])
            ]
        return False

    def _advance(self, state: int, text: str, at: int, seen: set[int], ready: list[int]) -> None:
        """Append the states that read a character, or have matched, in the order of priority."""
        waiting = [state]
        while waiting:
            number = waiting.pop()
            if number in seen:
                continue
            seen.add(number)
            match self._states[number]:
                case _Splits(then):
                    waiting += reversed(then)
                case _Holds(matches, then):
                    waiting += [then] if matches(text, at) else []
                case _:
                    ready.append(number)

    def _add(self, state: _Reads | _Splits | _Holds) -> int:
        if len(self._states) >= MAX_STATES:
            raise _UnsettledError
        self._states.append(state)
        return len(self._states) - 1

    def _sequence(self, items: Any, then: int, flags: int) -> int:
        """Return the first state of a sequence that goes on with another state."""
        for operation, argument in reversed(list(items)):
            then = self._item(operation, argument, then, flags)
        return then

    def _item(self, operation: Any, argument: Any, then: int, flags: int) -> int:
        if (unit := unit_text(operation, argument)) is not None:
            return self._add(_Reads(re.compile(unit, flags).fullmatch, then))
        if (holds := assertion_text(operation, argument)) is not None:
            return self._add(_Holds(re.compile(holds, flags).match, then))
        match str(operation):
            case "MAX_REPEAT" | "MIN_REPEAT":
                order = -1 if str(operation) == "MIN_REPEAT" else 1  # of going on and of ending
                return self._repeat(argument, order, then, flags)
            case "SUBPATTERN":
                _, added, removed, body = argument
                return self._sequence(body, then, (flags | added) & ~removed)
            case "BRANCH":
                return self._split([self._sequence(body, then, flags) for body in argument[1]])
        # What looks ahead, and what keeps or repeats what it has found.
        raise _UnsettledError

    def _repeat(self, argument: tuple[int, int, Any], order: int, then: int, flags: int) -> int:
        low, high, body = argument
        if body.getwidth()[0] == 0:
            raise _UnsettledError  # when an empty turn ends a repeat is a matter of its own
        if high > MAX_STATES:  # without end
            loop = self._split([])
            again = [self._sequence(body, loop, flags), then]
            self._states[loop] = _Splits(again[::order])
            first = loop
        else:
            first = then
            for _ in range(high - low):
                first = self._split([self._sequence(body, first, flags), then][::order])
        for _ in range(low):
            first = self._sequence(body, first, flags)
        return first

    def _split(self, then: Sequence[int]) -> int:
        return self._add(_Splits(list(then)))
