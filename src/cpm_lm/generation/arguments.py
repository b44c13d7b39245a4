"""The keyword arguments of `Model`'s methods: their types, and their defaults in the signature.

Knows the options classes, which own defaults, ranges and help; `tests/test_defaults.py` checks that
the types here name the same fields.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypedDict, TypeVar

from cpm_lm.choices import FilterOrder, Match, Method, Overflow
from cpm_lm.distributions.checks import Number

__all__ = ["SamplingArguments", "TextArguments", "VotingArguments", "with_options"]

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


class TextArguments(TypedDict, total=False):
    """The fields of `TextOptions`, and the old name of `filter_order`."""

    n: int
    max_tokens: int
    temperature: Number
    top_p: Number
    top_k: int
    min_p: Number
    typical_p: Number
    filter_order: FilterOrder
    stop: str | Iterable[str] | None
    min_tokens: int
    ignore_eos: bool
    repetition_penalty: Number
    presence_penalty: Number
    frequency_penalty: Number
    no_repeat_ngram: int
    ban: str | Iterable[str | int | Sequence[int]] | None
    bias: Mapping[str | int, Number] | Iterable[str] | None
    special: bool
    seed: int | None
    overflow: Overflow
    memory: int
    order: FilterOrder | None


class SamplingArguments(TextArguments, total=False):
    """The fields of `SamplingOptions`."""

    echo: bool
    top_logprobs: int


class VotingArguments(TextArguments, total=False):
    """The fields of `VotingOptions`."""

    method: Method
    answer: str | None
    match: Match
    aliases: Mapping[str, str] | None
    choices: str | Iterable[str] | None
    confidence: Number | None
    whole_line: bool
    budget: int | None


def with_options(options: type) -> Callable[[Decorated], Decorated]:
    """Return a decorator that shows the fields of an options class in a method's signature.

    The method takes them as `**options`. A field whose default is made anew has None there.
    """
    fields = [*dataclasses.fields(options), None]

    def add(method: Decorated) -> Decorated:
        signature = inspect.signature(method)
        own = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
        keyword = inspect.Parameter.KEYWORD_ONLY
        given = [
            inspect.Parameter(
                field.name if field else "order",
                keyword,
                default=None if field is None or _made_anew(field) else field.default,
                annotation=field.type if field else "FilterOrder | None",
            )
            for field in fields
        ]
        first = [p for p in own if p.kind is not keyword]
        last = [p for p in own if p.kind is keyword]
        method.__signature__ = signature.replace(parameters=[*first, *given, *last])  # type: ignore[attr-defined]
        return method

    return add


def _made_anew(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING
