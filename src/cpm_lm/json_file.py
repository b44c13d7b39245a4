"""Read JSON that others wrote: strictly, with a limit, and every fault with its place.

Knows JSON; does not know what the values mean. Stricter than Python's module: no NaN, no name
twice, no number that no 64 bits hold, no text that UTF-8 cannot hold.
"""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any, NoReturn

from cpm_lm.errors import CpmError
from cpm_lm.files import read_text
from cpm_lm.languages import tr

__all__ = ["JSON_LIMIT", "decode_json", "parse_json", "read_json"]

JSON_LIMIT = 64 << 20
"""The largest file in bytes; the largest real one is a tokenizer.json of some 20 MB."""
LONGEST_NUMBER = 40
"""Characters of a number; a double needs 24."""
LONE = re.compile(r"\\u[dD][89a-fA-F]")
"""The beginning of an escape that may be half a character."""


class _Unfit:
    """Stands for a number that is refused, until its place in the document is known."""

    def __init__(self, reason: str) -> None:
        self.reason = reason


def parse_json(path: Path, error: type[CpmError]) -> Any:
    """Return the value in a file.

    Args:
        path: the file.
        error: the class of the error.

    Raises:
        CpmError: the file cannot be read, or is not JSON; the message says where.
    """
    return decode_json(read_text(path, error, JSON_LIMIT), f"{path}", error)


def read_json(path: Path, error: type[CpmError]) -> dict[str, Any]:
    """Return the object in a file.

    Args:
        path: the file.
        error: the class of the error.

    Raises:
        CpmError: the file cannot be read, or holds something else.
    """
    values = parse_json(path, error)
    if not isinstance(values, dict):
        raise error(
            "{path} holds {name}, expected a JSON object", path=path, name=type(values).__name__
        )
    return values


def decode_json(text: str, where: str, error: type[CpmError]) -> Any:
    """Return the value of a JSON text.

    Args:
        text: the text.
        where: what it is, for messages.
        error: the class of the error.

    Raises:
        CpmError: it is not JSON.
    """
    unfit: list[_Unfit] = []

    def refuse(reason: str) -> _Unfit:
        unfit.append(_Unfit(reason))
        return unfit[-1]

    def integer(digits: str) -> int | _Unfit:
        if len(digits) > LONGEST_NUMBER:
            return refuse(tr("an integer of {n_digits:,} digits", n_digits=len(digits)))
        return int(digits)

    def real(digits: str) -> float | _Unfit:
        if len(digits) > 10 * LONGEST_NUMBER or not math.isfinite(value := float(digits)):
            return refuse(tr("a number out of range, {digits}", digits=digits[:40]))
        return value

    try:
        values = json.loads(
            text,
            parse_int=integer,
            parse_float=real,
            parse_constant=lambda name: refuse(tr("{name}, which is no number of JSON", name=name)),
            object_pairs_hook=_once,
        )
    except RecursionError:
        raise error("{where} cannot be read: its values are nested too deep", where=where) from None
    except ValueError as failure:
        raise error(
            "{where} cannot be read: it is not valid JSON: {failure}", where=where, failure=failure
        ) from None
    if unfit:
        _refuse_at(values, unfit[0], where, error)
    if LONE.search(text):
        _refuse_lone_surrogates(values, where, error)
    return values


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the object of some pairs, whose names must differ."""
    values = dict(pairs)
    if len(values) < len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise ValueError(tr("the name {twice!a} occurs twice in one object", twice=twice[:60]))
    return values


def _refuse_at(values: Any, unfit: _Unfit, where: str, error: type[CpmError]) -> NoReturn:
    """Raise the error for a number, with the names that lead to it."""
    todo: list[tuple[tuple[object, ...], Any]] = [((), values)]
    while todo:
        place, value = todo.pop()
        if value is unfit:
            field = "".join(f"[{key!a:.60}]" for key in place[:8]) or tr("the whole")
            raise error(
                "{where} cannot be read: {field} is {reason}",
                where=where,
                field=field,
                reason=unfit.reason,
            )
        inside = (
            value.items()
            if isinstance(value, dict)
            else enumerate(value)
            if isinstance(value, list)
            else ()
        )
        todo += [((*place, key), item) for key, item in inside]
    raise error("{where} cannot be read: it holds {reason}", where=where, reason=unfit.reason)


def _refuse_lone_surrogates(values: Any, where: str, error: type[CpmError]) -> None:
    try:
        json.dumps(values, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise error(
            "{where} cannot be read: a text in it has half a character (a lone surrogate)",
            where=where,
        ) from None
