r"""An upper bound on the steps of backtracking, by the length of the text.

Knows parsed expressions; does not know texts. Backtracking tries every way in which the parts of an
expression can divide a text, so its time is the number of these ways. Where two ways part, one
character ahead often tells them apart: in `\d+元` the repeat goes on at a digit and ends at 元,
so that only one of its ends is followed further, while in `.*元` each of them is.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cpm_lm.generation.pattern_text import parsed, unit_text
from cpm_lm.generation.polynomials import (
    ENDLESS,
    LINEAR,
    ONE,
    ZERO,
    Polynomial,
    checked,
    largest,
    plus,
    times,
)
from cpm_lm.shapes import Bool

__all__ = ["search_steps"]

Characters = Bool[np.ndarray, " C"]
"""Which characters of ALPHABET."""

FEW = 64
"""A repeat of at most so many lengths counts as these; one of more as of every length."""
# The planes that hold characters in use, without surrogates.
PLANES = [*range(0xD800), *range(0xE000, 0x20000), *range(0xE0000, 0xE0200)]


@functools.cache
def _alphabet() -> str:
    return "".join(map(chr, PLANES))


@functools.cache
def _members(unit: str, flags: int) -> Characters:
    """Return the characters that match what matches one character."""
    found = np.zeros(len(PLANES), bool)
    for run in re.compile(f"(?:{unit})+", flags).finditer(_alphabet()):
        found[run.start() : run.end()] = True
    return found


@functools.cache
def _none() -> Characters:
    return np.zeros(len(PLANES), bool)


@dataclass(frozen=True, eq=False)
class _Part:
    """What is known of a part of an expression, given what may follow it."""

    reads: Characters
    """The characters that a match may read from its beginning on, what follows it included."""
    ways: Polynomial
    """Of matching from one place, counted where what follows can read the next character."""
    work: Polynomial
    """The steps of all ways, without what follows."""


def search_steps(expression: str, flags: int) -> Polynomial:
    """Return a bound on the steps of a search for the first match, at every place of a text.

    Args:
        expression: as `pattern_text.folded` writes it.
        flags: of `re`.
    """
    fails, succeeds = _search(parsed(expression, flags), flags)
    return plus(checked((0.0, *fails)), succeeds)


def _search(items: Any, flags: int) -> tuple[Polynomial, Polynomial]:
    r"""Return the steps of all ways that fail, from one place, and those of the one that succeeds.

    A search ends with the first success. So nothing is multiplied by the ways of a part behind
    which the rest succeeds as soon as its first character is there: `\d+` in `(.*)=(\d+)`.
    """
    fails, succeeds, follow = ZERO, ONE, _none()
    nothing_left = certain = True  # whether the rest succeeds at once, or after one character
    for operation, argument, own in reversed(_flattened(items, flags)):
        part = _item(operation, argument, follow, own)
        simple, optional = _kind(operation, argument)
        if nothing_left and str(operation) == "BRANCH":
            fails = functools.reduce(plus, [_search(body, own)[0] for body in argument[1]])
        elif nothing_left:
            fails = ZERO if optional else ONE if simple else part.work
        else:
            fails = plus(part.work, ZERO if certain else times(part.ways, fails))
        certain = nothing_left and (simple or optional)
        nothing_left = nothing_left and optional
        succeeds, follow = plus(succeeds, part.work), part.reads
    return fails, succeeds


def _flattened(items: Any, flags: int) -> list[tuple[Any, Any, int]]:
    """Return operations and arguments with their flags, those of groups in their place."""
    found: list[tuple[Any, Any, int]] = []
    for operation, argument in items:
        if str(operation) == "SUBPATTERN":
            _, added, removed, body = argument
            found += _flattened(body, (flags | added) & ~removed)
        else:
            found.append((operation, argument, flags))
    return found


def _kind(operation: Any, argument: Any) -> tuple[bool, bool]:
    """Return whether a part succeeds with its first character, and whether it may be left out."""
    if unit_text(operation, argument) is not None:
        return True, False
    if str(operation) not in ("MAX_REPEAT", "MIN_REPEAT"):
        return False, False
    low, _, body = argument
    one = len(body) == 1 and unit_text(*body[0]) is not None
    return one and low == 1, low == 0


def _sequence(items: Any, follow: Characters, flags: int) -> _Part:
    ways, work = ONE, ZERO
    for operation, argument in reversed(list(items)):
        part = _item(operation, argument, follow, flags)
        work = plus(part.work, times(part.ways, work))
        ways = times(part.ways, ways)
        follow = part.reads
    return _Part(follow, ways, work)


def _item(operation: Any, argument: Any, follow: Characters, flags: int) -> _Part:
    if (unit := unit_text(operation, argument)) is not None:
        return _Part(_members(unit, flags), ONE, ONE)
    match str(operation):
        case "MAX_REPEAT" | "MIN_REPEAT":
            return _repeat(argument, follow, flags)
        case "POSSESSIVE_REPEAT":
            return _closed(_repeat(argument, follow, flags), argument[2], flags, LINEAR)
        case "ATOMIC_GROUP":
            return _closed(_sequence(argument, follow, flags), argument, flags, ONE)
        case "SUBPATTERN":
            _, added, removed, body = argument
            return _sequence(body, follow, (flags | added) & ~removed)
        case "BRANCH":
            return _branch(argument[1], follow, flags)
        case "GROUPREF_EXISTS":
            _, then, otherwise = argument
            return _branch([then, otherwise or []], follow, flags)
        case "ASSERT" | "ASSERT_NOT":
            return _Part(follow, ONE, plus(ONE, _sequence(argument[1], _none(), flags).work))
        case "GROUPREF":
            return _Part(~_none(), ONE, LINEAR)
    return _Part(follow, ONE, ONE)  # a place: ^ $ \b


def _closed(part: _Part, body: Any, flags: int, turns: Polynomial) -> _Part:
    """Return what becomes of a part that keeps its first way of matching: it has no other."""
    alone = _sequence(body, _none(), flags)
    return _Part(part.reads, ONE, plus(ONE, times(turns, alone.work)))


def _branch(bodies: Sequence[Any], follow: Characters, flags: int) -> _Part:
    """Return alternatives; those that begin with other characters are not tried together."""
    parts = [_alternatives(group, follow, flags) for group in _by_first(bodies)]
    reads = functools.reduce(np.logical_or, [part.reads for part in parts])
    work = functools.reduce(plus, [part.work for part in parts])
    together: dict[Polynomial, Characters] = {ZERO: ~_none()}
    for part in parts:
        cells: dict[Polynomial, Characters] = {}
        for ways, cell in together.items():
            both, alone = cell & part.reads, cell & ~part.reads
            for sum_, rest in (plus(ways, part.ways), both), (ways, alone):
                if rest.any():
                    cells[sum_] = cells[sum_] | rest if sum_ in cells else rest
        together = cells
    return _Part(reads, largest([*together, ONE]), work)


def _by_first(bodies: Sequence[Any]) -> list[list[Any]]:
    """Return alternatives in groups: those that begin with the same character or class."""
    groups: dict[Any, list[Any]] = {}
    for number, body in enumerate(bodies):
        first = unit_text(*body[0]) if len(body) else None
        groups.setdefault(number if first is None else first, []).append(body)
    return list(groups.values())


def _alternatives(bodies: Sequence[Any], follow: Characters, flags: int) -> _Part:
    """Return alternatives that begin alike: as many ways as what comes after it leaves open."""
    if len(bodies) == 1:
        return _sequence(bodies[0], follow, flags)
    unit = unit_text(*bodies[0][0])
    assert unit is not None
    rest = _branch([body[1:] for body in bodies], follow, flags)
    work = plus((float(len(bodies)),), rest.work)
    return _Part(_members(unit, flags), rest.ways, work)


def _repeat(argument: tuple[int, int, Any], follow: Characters, flags: int) -> _Part:
    """Return a repeat, greedy or lazy."""
    low, high, body = argument
    if high == 0:
        return _Part(follow, ONE, ONE)
    begins = _sequence(body, _none(), flags).reads
    more = begins | follow if high > 1 else follow
    part = _sequence(body, more, flags)
    empty = body.getwidth()[0] == 0
    reads = begins | follow if low == 0 or empty else begins
    parts = bool((begins & follow).any())  # whether the next character leaves both ways open
    if part.ways == ONE:
        turns: Polynomial = (float(high),) if high <= FEW else LINEAR
        lengths: Polynomial = (float(high - low + 1),) if high - low < FEW else LINEAR
        ways = lengths if parts and low < high else ONE
        return _Part(reads, ways, plus(ONE, times(turns, part.work)))
    if high > FEW:
        return _Part(reads, ENDLESS, ENDLESS)
    powers = [ONE]
    for _ in range(high):
        powers.append(times(powers[-1], part.ways))
    ways = functools.reduce(plus, powers[low:])
    turns = functools.reduce(plus, powers[:-1])
    return _Part(reads, ways, plus(ONE, times(turns, part.work)))
