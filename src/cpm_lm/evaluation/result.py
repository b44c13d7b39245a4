"""The result of a task: every number with the protocol that it was measured by.

Knows numbers and names; does not know how they are computed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cpm_lm.errors import ConfigError
from cpm_lm.evaluation.statistics import mcnemar, paired_bootstrap, standard_error

__all__ = ["Comparison", "Outcome", "Result", "compared", "summarized"]

SAME = (
    "task",
    "version",
    "task_digest",
    "protocol",
    "shots",
    "seed",
    "boundary",
    "data_digest",
    "items",
)
"""What two results that are compared have in common."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of one item."""

    values: Mapping[str, float]
    """By score: 1 if the best candidate by it is right, else 0, 1/n if it ties with n - 1 others;
    or the metrics of a text."""
    chance: float
    """The value that guessing has."""
    group: str = ""
    cut: bool = False
    answer: str = ""
    """The candidate chosen by the task's normalization, or the text generated."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """A task's result, with everything that is needed to measure it again."""

    task: str
    version: int
    task_digest: str
    """The sha256 of the task's file."""
    protocol: str
    shots: int
    seed: int
    boundary: str
    normalization: str
    """Of the headline value; or the metric of a task that generates."""
    items: int
    value: float
    """The mean over the items: the headline."""
    standard_error: float | None
    chance: float | None
    """The value that guessing has; None for a task that generates."""
    values: Mapping[str, float]
    """The mean of every score or metric."""
    groups: Mapping[str, float]
    """The mean by group; empty without groups."""
    macro: float | None
    """The mean of the groups' means."""
    cut: int
    """Items shortened to fit the context."""
    rows: int
    """Forward rows computed."""
    data_digest: str
    """The sha256 of the file of items, and of that of the shots."""
    model_digest: str
    engine: str
    package: str
    """The version of this package."""
    outcomes: Sequence[Outcome]

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return dataclasses.asdict(self)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two models on the same items."""

    difference: float
    """The second's value less the first's."""
    low: float
    high: float
    """The central 95% of the difference over resampled items (paired bootstrap)."""
    p_value: float | None
    """Of McNemar's exact test; None where values are not right or wrong."""


def summarized(outcomes: Sequence[Outcome], headline: str, **about: Any) -> Result:
    """Return the result of at least one outcome.

    Args:
        outcomes: of all items, in order.
        headline: the name of the value that counts.
        about: the other fields of the result.
    """
    names = outcomes[0].values
    values = {name: _mean([each.values[name] for each in outcomes]) for name in names}
    own = [each.values[headline] for each in outcomes]
    groups: dict[str, list[float]] = {}
    for each, value in zip(outcomes, own, strict=True):
        if each.group:
            groups.setdefault(each.group, []).append(value)
    means = {name: _mean(found) for name, found in sorted(groups.items())}
    return Result(
        **about,
        normalization=headline,
        items=len(outcomes),
        value=values[headline],
        standard_error=standard_error(own),
        values=values,
        groups=means,
        macro=_mean(list(means.values())) if means else None,
        cut=sum(each.cut for each in outcomes),
        outcomes=tuple(outcomes),
    )


def compared(first: Result, second: Result) -> Comparison:
    """Compare two models' results of one task.

    Raises:
        ConfigError: the results are not of the same items by the same protocol.
    """
    for name in SAME:
        here, there = getattr(first, name), getattr(second, name)
        if here != there:
            raise ConfigError(
                "the results cannot be compared: {name} is {here!r} and {there!r}",
                name=name,
                here=here,
                there=there,
            )
    one, two = (
        [each.values[result.normalization] for each in result.outcomes]
        for result in (first, second)
    )
    low, high = paired_bootstrap(one, two, first.seed)
    binary = {*one, *two} <= {0.0, 1.0}
    only_first = sum(a > b for a, b in zip(one, two, strict=True))
    only_second = sum(b > a for a, b in zip(one, two, strict=True))
    return Comparison(
        difference=second.value - first.value,
        low=low,
        high=high,
        p_value=mcnemar(only_first, only_second) if binary else None,
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
