"""`cpm preset`: named sets of sampling options.

Knows options and printing; does not know where presets are kept.
"""

from __future__ import annotations

from typing import Any

import click

from cpm_lm.cli.console import print_json
from cpm_lm.cli.help_pages import VerbGroup
from cpm_lm.cli.options import (
    json_option,
    options_of,
    overwrite_option,
    sampling_options,
)
from cpm_lm.cli.presetting import preset_lines
from cpm_lm.generation.options import VotingOptions
from cpm_lm.generation.presets import preset, presets, remove_preset, save_preset
from cpm_lm.languages import later

__all__ = ["command"]

FOR_VOTES = ("method", "answer", "match", "choices", "confidence", "budget")


@click.group("preset", cls=VerbGroup, short_help=later("Named sets of sampling options."))
def command() -> None:
    """Save, list, show and remove named sets of sampling options, for `cpm sample --preset NAME`.

    \b
    cpm preset save mine --temperature 0.8 --repetition-penalty 1.2
    cpm sample '今天天气不错' --preset mine
    """


@command.command("save", short_help=later("Save one."))
@click.argument("name")
@sampling_options
@options_of(VotingOptions, *FOR_VOTES)
@overwrite_option
@click.pass_context
def save(ctx: click.Context, /, name: str, overwrite: bool, **options: Any) -> None:
    """Save the options given under NAME."""
    given = {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in options.items()
        if ctx.get_parameter_source(key) is click.core.ParameterSource.COMMANDLINE
    }
    click.echo(str(save_preset(name, given, overwrite=overwrite)))


@command.command("list", short_help=later("List all."))
@json_option
def list_(as_json: bool) -> None:
    """List all presets with their options."""
    if as_json:
        print_json({name: preset(name) for name in presets()})
        return
    for line in preset_lines(presets()):
        click.echo(line)


@command.command("show", short_help=later("Show one."))
@click.argument("name")
@json_option
def show(name: str, as_json: bool) -> None:
    """Show the options of NAME."""
    if as_json:
        print_json(preset(name))
        return
    for line in preset_lines([name]):
        click.echo(line)


@command.command("remove", short_help=later("Remove one."))
@click.argument("name")
def remove(name: str) -> None:
    """Remove NAME, which you saved."""
    click.echo(str(remove_preset(name)))
