"""The run-time type checker of the tests: beartype, which leaves options' names to our own checks.

A type checker refuses `overflow="no"` before the program runs. For those without one, our own check
refuses it, with an error of ours; the tests of these errors must reach it.
"""

from __future__ import annotations

from typing import Any

from beartype import BeartypeConf, FrozenDict, beartype

from cpm_lm import choices

NAMES = {getattr(choices, name): str for name in choices.__all__ if name != "choices"}
CONF = BeartypeConf(hint_overrides=FrozenDict(NAMES))


def check(target: Any) -> Any:
    return beartype(conf=CONF)(target)
