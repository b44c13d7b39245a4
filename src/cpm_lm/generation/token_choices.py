"""The values of `ban` and `bias`, read into one form: texts, ids, and numbers.

Knows values of options; does not know tokenizers: `path_filters` turns texts into ids.
"""

from __future__ import annotations

import math
import numbers
import operator
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cpm_lm.distributions.checks import Number
from cpm_lm.errors import RequestError

__all__ = ["MAX_BIAS", "Ban", "read_bans", "read_bias"]

Ban = str | tuple[int, ...]
"""A text, or a sequence of token ids."""
MAX_BIAS = 100
"""The greatest bias, as in OpenAI's API: e^100 outweighs every difference between two logits."""
ID_PREFIX = "id:"


def read_bans(value: Any) -> tuple[Ban, ...]:
    """Return banned texts and sequences of ids: one text, several bans, or none.

    >>> read_bans(["坏", 5, [6, 7]])
    ('坏', (5,), (6, 7))

    Raises:
        RequestError: one is neither.
    """
    if value is None:
        return ()
    several = [value] if isinstance(value, str | bytes) else value
    if not isinstance(several, Iterable):
        raise RequestError(
            "ban is {value!r}; expected a text, or a list of texts and token ids", value=value
        )
    return tuple(_read_ban(ban) for ban in several)


def _read_ban(ban: Any) -> Ban:
    if isinstance(ban, str) and ban:
        return ban
    ids = [ban] if isinstance(ban, numbers.Integral) else ban
    whole = isinstance(ids, Sequence) and all(isinstance(i, numbers.Integral) for i in ids)
    if not whole or isinstance(ban, str | bytes | bool) or not len(ids):
        raise RequestError(
            "ban {ban!r}; expected text of at least one character, or a sequence of token ids",
            ban=ban,
        )
    return tuple(operator.index(i) for i in ids)


def read_bias(value: Any) -> dict[str | int, Number]:
    """Return the bias of each text or id, given as a mapping or as texts `TEXT=NUMBER`.

    >>> read_bias(["的=-2", "id:7=1.5"])
    {'的': -2.0, 7: 1.5}

    Raises:
        RequestError: a text has no number, or a number is out of range.
    """
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        pairs = [_parsed(text) for text in ([value] if isinstance(value, str) else value)]
        value = dict(pairs)
        if len(value) < len(pairs):
            raise RequestError("a bias is given twice for one token; give it once")
    for key, number in value.items():
        good = isinstance(number, numbers.Real) and not isinstance(number, bool)
        if not good or not math.isfinite(number) or abs(number) > MAX_BIAS:
            raise RequestError(
                "bias of {key!r} is {number!r}; expected a number from -{max_bias} to {max_bias}",
                key=key,
                number=number,
                max_bias=MAX_BIAS,
            )
        if isinstance(key, bool) or not isinstance(key, str | numbers.Integral):
            raise RequestError("bias of {key!r}; expected the text of a token, or its id", key=key)
    return {
        key if isinstance(key, str) else operator.index(key): float(number)
        for key, number in value.items()
    }


def _parsed(text: Any) -> tuple[str | int, float]:
    """Return the token and the number of `TEXT=NUMBER`; the text itself may hold an `=`."""
    name, equals, number = text.rpartition("=") if isinstance(text, str) else ("", "", "")
    try:
        amount = float(number)
    except ValueError:
        amount = math.nan
    if not name or not equals or math.isnan(amount):
        raise RequestError(
            "bias {text!r}; expected a token's text, = and a number, such as 的=-2, "
            "or id:7=1.5 for a token id",
            text=text,
        )
    digits = name.removeprefix(ID_PREFIX)
    is_id = name.startswith(ID_PREFIX) and digits.isascii() and digits.isdigit()
    return (int(digits) if is_id else name), amount
