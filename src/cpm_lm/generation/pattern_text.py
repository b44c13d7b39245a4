"""A regular expression in the form that texts have: parsed, in NFKC, and written out again.

Texts are compared in NFKC, so `答案：5` arrives as `答案:5`, and the literals of an expression are
folded in the same way. That is done on the parsed expression, not on its text: a folded `（` is a
literal parenthesis and never a group. What is written out holds neither names, comments nor
verbose space, so that it can become a part of another expression.
"""

from __future__ import annotations

import importlib
import re
import unicodedata
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any

__all__ = ["assertion_text", "folded", "parsed", "unit_text"]

SHORT_RANGE = 256
"""Characters of a range whose folds of several characters, as 10 for ⑩, are looked for."""
FLAGS = {re.A: "a", re.I: "i", re.L: "L", re.M: "m", re.S: "s", re.U: "u"}
ANCHORS = {
    "AT_BEGINNING": "^",
    "AT_BEGINNING_STRING": r"\A",
    "AT_BOUNDARY": r"\b",
    "AT_NON_BOUNDARY": r"\B",
    "AT_END": "$",
    "AT_END_STRING": r"\Z",
}
CATEGORIES = {
    "CATEGORY_DIGIT": r"\d",
    "CATEGORY_NOT_DIGIT": r"\D",
    "CATEGORY_SPACE": r"\s",
    "CATEGORY_NOT_SPACE": r"\S",
    "CATEGORY_WORD": r"\w",
    "CATEGORY_NOT_WORD": r"\W",
}
REPEATS = {"MAX_REPEAT": "", "MIN_REPEAT": "?", "POSSESSIVE_REPEAT": "+"}


def parsed(expression: str, flags: int = 0) -> Any:
    """Return the parse tree of Python's `re`: a sequence of pairs (operation, argument).

    Raises:
        re.error, ValueError, OverflowError, RecursionError: it is no expression.
    """
    with warnings.catch_warnings():  # about sets that a later Python may read otherwise
        warnings.simplefilter("ignore")
        return importlib.import_module("re._parser").parse(expression, flags)


def folded(expression: str) -> tuple[str, int]:
    r"""Return an expression with its literals in NFKC, and its flags.

    >>> folded("答案：([０-９]+)（元）")[0]
    '答案:([0-9０-９]{1,})\\(元\\)'

    Raises:
        re.error, ValueError, OverflowError, RecursionError: it is no expression.
    """
    tree = parsed(expression)
    return _sequence(tree), tree.state.flags & ~re.VERBOSE


def unit_text(operation: Any, argument: Any) -> str | None:
    """Return the text of what matches one character, or None for all other operations."""
    match str(operation):
        case "LITERAL":
            return re.escape(chr(argument))
        case "NOT_LITERAL":
            return f"[^{re.escape(chr(argument))}]"
        case "ANY":
            return "."
        case "IN":
            return _class(argument)
    return None


def assertion_text(operation: Any, argument: Any) -> str | None:
    """Return the text of what holds or not by the text before a place; None for all others."""
    name = str(operation)
    behind = name in ("ASSERT", "ASSERT_NOT") and argument[0] < 0
    begins = name == "AT" and str(argument) in ("AT_BEGINNING", "AT_BEGINNING_STRING")
    return _item(name, argument) if behind or begins else None


def _sequence(items: Any) -> str:
    parts, literal = [], ""
    for operation, argument in items:
        if str(operation) == "LITERAL":
            literal += chr(argument)
            continue
        parts += [re.escape(_nfkc(literal)), _item(str(operation), argument)]
        literal = ""
    return "".join([*parts, re.escape(_nfkc(literal))])


def _item(name: str, argument: Any) -> str:
    """Return the text of one operation other than a literal."""
    if name in REPEATS:
        low, high, body = argument
        most = "" if high == importlib.import_module("re._constants").MAXREPEAT else high
        return f"{_repeated(body)}{{{low},{most}}}{REPEATS[name]}"
    if name not in WRITERS:
        raise re.error(f"unknown operation {name}")
    return WRITERS[name](argument)


def _assertion(argument: tuple[int, Any], sign: str) -> str:
    direction, body = argument
    return f"(?{'<' if direction < 0 else ''}{sign}{_sequence(body)})"


def _conditional(argument: tuple[int, Any, Any]) -> str:
    number, then, otherwise = argument
    return f"(?({number}){_sequence(then)}|{_sequence(otherwise or [])})"


def _group(number: int | None, added: int, removed: int, body: Any) -> str:
    if number is not None:
        return f"({_sequence(body)})"
    on, off = (
        "".join(letter for flag, letter in FLAGS.items() if flags & flag)
        for flags in (added, removed)
    )
    return f"(?{on}{'-' if off else ''}{off}:{_sequence(body)})"


def _repeated(body: Any) -> str:
    """Return the text of a repeat's body; one character, and a group, need no brackets."""
    text = _sequence(body)
    alone = len(body) == 1 and (len(text) == 1 or str(body[0][0]) == "SUBPATTERN")
    return text if alone or _is_class(text) else f"(?:{text})"


def _is_class(text: str) -> bool:
    r"""Return whether a text is one character class, `[...]` or `\d`."""
    return bool(re.fullmatch(r"\[(?:[^\]\\]|\\.)+\]|\\.|\.", text, re.DOTALL))


def _class(items: Sequence[tuple[Any, Any]]) -> str:
    """Return the text of a character class.

    A member whose fold has several characters becomes an alternative beside the class, in a group
    that is not tried again, as a class is not; of a negated class the fold must not follow.
    """
    negated, inside = False, []
    single: set[int] = set()
    several: set[str] = set()
    for operation, argument in items:
        match str(operation):
            case "NEGATE":
                negated = True
            case "CATEGORY":
                inside.append(CATEGORIES[str(argument)])
            case "RANGE":
                low, high = argument
                kept, longer = _folds(low, high)
                single |= {c for c in kept if not low <= c <= high}
                several |= longer
                inside.append(f"{re.escape(chr(low))}-{re.escape(chr(high))}")
            case _:
                kept, longer = _folds(argument, argument)
                single |= kept
                several |= longer
    text = "".join([*_ranges(single), *inside])
    others = "|".join(map(re.escape, sorted(several, key=lambda fold: (-len(fold), fold))))
    if negated:
        return (f"(?!{others})" if others else "") + (f"[^{text}]" if text else "(?s:.)")
    if not others:
        return f"[{text}]"
    return f"(?>{others}|[{text}])" if text else f"(?>{others})"


def _folds(low: int, high: int) -> tuple[set[int], set[str]]:
    """Return what the characters of a range become in NFKC: characters, and longer texts."""
    folds = {_nfkc(chr(c)) for c in range(low, high + 1)}
    longer = {fold for fold in folds if len(fold) > 1} if high - low < SHORT_RANGE else set()
    return {ord(fold) for fold in folds if len(fold) == 1}, longer


def _ranges(characters: Iterable[int]) -> list[str]:
    """Return the members of a class, neighbours as ranges."""
    found: list[list[int]] = []
    for c in sorted(characters):
        if found and c == found[-1][1] + 1:
            found[-1][1] = c
        else:
            found.append([c, c])
    ends = [(re.escape(chr(low)), re.escape(chr(high))) for low, high in found]
    return [low if low == high else f"{low}-{high}" for low, high in ends]


def _nfkc(text: str) -> str:
    return unicodedata.normalize("NFKC", text)


WRITERS: dict[str, Callable[[Any], str]] = {
    "ANY": lambda _: ".",
    "ASSERT": lambda argument: _assertion(argument, "="),
    "ASSERT_NOT": lambda argument: _assertion(argument, "!"),
    "AT": lambda place: ANCHORS[str(place)],
    "ATOMIC_GROUP": lambda body: f"(?>{_sequence(body)})",
    "BRANCH": lambda argument: f"(?:{'|'.join(map(_sequence, argument[1]))})",
    "FAILURE": lambda _: "(?!)",
    "GROUPREF": lambda number: rf"(?:\{number})",  # apart from a digit that may follow
    "GROUPREF_EXISTS": _conditional,
    "IN": _class,
    "NOT_LITERAL": lambda literal: _class([("NEGATE", None), ("LITERAL", literal)]),
    "SUBPATTERN": lambda argument: _group(*argument),
}
"""How each operation of `re`, but literals and repeats, is written."""
