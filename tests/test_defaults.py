"""Functions and commands take the defaults and help of options from the option classes."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any

import click
import pytest

import cpm_lm
from cpm_lm.checkpoints.options import ConvertOptions
from cpm_lm.cli import cpm
from cpm_lm.engines.options import EngineOptions
from cpm_lm.evaluation.divergence import compare
from cpm_lm.generation.arguments import SamplingArguments, VotingArguments
from cpm_lm.generation.options import SamplingOptions, VotingOptions
from cpm_lm.model import Model

CALLS: list[tuple[Callable[..., Any], type, set[str]]] = [
    (Model.sample, SamplingOptions, set()),
    (Model.stream, SamplingOptions, set()),
    (Model.vote, VotingOptions, set()),
    (cpm_lm.convert, ConvertOptions, set()),
    (cpm_lm.open_engine, EngineOptions, set()),
    (cpm_lm.load, EngineOptions, {"cache_dtype", "cache_bytes"}),
    (cpm_lm.verify, EngineOptions, {"cache_dtype", "cache_bytes"}),
    (cpm_lm.pull, EngineOptions, {"cache_dtype", "cache_bytes"}),
    (compare, EngineOptions, {"cache_dtype", "cache_bytes"}),
]
COMMANDS = [
    ("sample", SamplingOptions),
    ("vote", VotingOptions),
    ("convert", ConvertOptions),
    *(
        (command_name, EngineOptions)
        for command_name in ("sample", "vote", "next", "verify", "compare", "pull")
    ),
]


@pytest.mark.parametrize(("call", "options", "without"), CALLS)
def test_a_function_has_the_options_and_their_defaults(
    call: Callable[..., Any], options: type, without: set[str]
) -> None:
    parameters = inspect.signature(call).parameters
    for field in dataclasses.fields(options):
        if field.name in without:
            continue
        if field.default is dataclasses.MISSING:
            assert parameters[field.name].default is None  # a new empty mapping at each call
        else:
            assert parameters[field.name].default == field.default, field.name


@pytest.mark.parametrize(("command_name", "options"), COMMANDS)
def test_a_command_has_the_options_with_their_defaults_and_help(
    command_name: str, options: type
) -> None:
    command = cpm.get_command(click.Context(cpm), command_name)
    assert command is not None
    given = {parameter.name: parameter for parameter in command.params}
    for field in dataclasses.fields(options):
        if "help" not in field.metadata:
            continue
        parameter = given[field.name]
        assert isinstance(parameter, click.Option)
        assert parameter.help == field.metadata["help"]
        if not parameter.multiple and field.default is not dataclasses.MISSING:
            assert parameter.default in (field.default, None)


@pytest.mark.parametrize(
    ("arguments", "options"),
    [(SamplingArguments, SamplingOptions), (VotingArguments, VotingOptions)],
)
def test_the_types_of_the_arguments_name_the_fields(arguments: Any, options: type) -> None:
    names = {field.name for field in dataclasses.fields(options)}
    assert set(arguments.__annotations__) == names | {"order"}


def test_an_argument_that_is_no_option_is_refused() -> None:
    model: Any = cpm_lm.load(engine="reference")
    with pytest.raises(TypeError, match="repeat_penalty"):
        model.sample("春", repeat_penalty=1.1)


@pytest.mark.parametrize("options", [SamplingOptions, VotingOptions])
def test_the_old_name_of_filter_order_is_accepted(options: type) -> None:
    with pytest.warns(DeprecationWarning, match="filter_order"):
        old = options(order="cpm")
    assert old == options(filter_order="cpm")
    assert old.filter_order == "cpm"
