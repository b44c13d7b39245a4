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
    noun = "an integer" if whole else "a finite number"
    if above_low:
        bounds = f"above {low:,}" + (f", at most {high:,}" if high < math.inf else "")
    else:
        bounds = f"from {low:,} to {high:,}" if high < math.inf else f"of at least {low:,}"
    raise RequestError(f"{name} is {value!r}; expected {noun} {bounds}")


def check_field(options: Any, name: str, **limits: Any) -> None:
    """Check a field of a frozen options object by `check_number`, and keep what that returns."""
    object.__setattr__(options, name, check_number(name, getattr(options, name), **limits))


def check_one_of(name: str, value: Any, choices: Sequence[str]) -> None:
    """Check that a value is one of the choices.

    Raises:
        RequestError: it is not; the message gives the name, the value and the choices.
    """
    if value not in choices:
        raise RequestError(f"{name} is {value!r}; expected {' or '.join(map(repr, choices))}")
