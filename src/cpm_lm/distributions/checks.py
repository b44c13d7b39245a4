"""Checks of option values, and access to the help text of an option.

Knows numbers and strings; does not know what the options mean.
"""

from __future__ import annotations

import dataclasses
import math
import numbers
import operator
from collections.abc import Sequence
from typing import Any

from cpm_lm.errors import RequestError
from cpm_lm.languages import tr

__all__ = ["Number", "check_field", "check_number", "check_one_of", "help_of"]

Number = int | float
"""An int or a float: at run time, unlike in a type checker, `float` does not include int."""


def help_of(options: type, name: str) -> str:
    """Return the help text of one field of an options class."""
    return str({field.name: field for field in dataclasses.fields(options)}[name].metadata["help"])


def check_number(
    name: str,
    value: Any,
    *,
    low: Number,
    high: Number = math.inf,
    whole: bool = False,
    above_low: bool = False,
) -> Number:
    """Check that a value is a finite number in its range; return it as Python's int or float.

    numpy's numbers are accepted, but must not stay: a list times an np.int64 is an array.

    Raises:
        RequestError: it is not; the message gives the name, the value and the range.
    """
    kind = numbers.Integral if whole else numbers.Real
    good = isinstance(value, kind) and not isinstance(value, bool) and math.isfinite(value)
    if good and low <= value <= high and not (above_low and value == low):
        return operator.index(value) if isinstance(value, numbers.Integral) else float(value)
    noun = tr("an integer") if whole else tr("a finite number")
    if above_low:
        bounds = tr("above {low:,}", low=low) + (
            tr(", at most {high:,}", high=high) if high < math.inf else ""
        )
    else:
        bounds = (
            tr("from {low:,} to {high:,}", low=low, high=high)
            if high < math.inf
            else tr("of at least {low:,}", low=low)
        )
    raise RequestError(
        "{name} is {value!r}; expected {noun} {bounds}",
        name=name,
        value=value,
        noun=noun,
        bounds=bounds,
    )


def check_field(options: Any, name: str, **limits: Any) -> None:
    """Check a field of a frozen options object by `check_number`, and keep what that returns."""
    object.__setattr__(options, name, check_number(name, getattr(options, name), **limits))


def check_one_of(name: str, value: Any, choices: Sequence[str]) -> None:
    """Check that a value is one of the choices.

    Raises:
        RequestError: it is not; the message gives the name, the value and the choices.
    """
    if value not in choices:
        raise RequestError(
            "{name} is {value!r}; expected {choices}",
            name=name,
            value=value,
            choices=" or ".join(map(repr, choices)),
        )
