"""The option --preset, and presets as lines of text.

Knows click and presets; does not know which options a verb has.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import click

from cpm_lm.cli.console import Text
from cpm_lm.cli.help_pages import SAMPLING, SectionOption
from cpm_lm.cli.options import SHORT_NAMES
from cpm_lm.errors import RequestError
from cpm_lm.languages import later

__all__ = ["preset_lines", "preset_option"]


def preset_lines(names: Iterable[str]) -> list[str]:
    """Return one line for each preset: its name, and its options as they would be typed."""
    from cpm_lm.generation.presets import preset

    return [
        f"{name}: " + " ".join(_typed(key, value) for key, value in preset(name).items())
        for name in names
    ]


def _typed(name: str, value: Any) -> str:
    """Return an option as it would be typed."""
    flag = SHORT_NAMES.get(name, ["--" + name.replace("_", "-")])[0]
    if isinstance(value, bool):
        return flag
    values = value if isinstance(value, list | tuple) else [value]
    return " ".join(f"{flag} {json.dumps(v, ensure_ascii=False)}" for v in values)


def _use_preset(ctx: click.Context, _param: click.Parameter, name: str | None) -> None:
    """Make a preset's options the defaults of this command; what is typed still counts more."""
    from cpm_lm.generation.presets import LIST, preset, presets

    if name is None or ctx.resilient_parsing:
        return
    if name == LIST:
        for line in preset_lines(presets()):
            click.echo(line)
        ctx.exit()
    options = preset(name)
    known = {parameter.name for parameter in ctx.command.params}
    if unknown := sorted(options.keys() - known):
        raise RequestError(
            "preset {name!r} sets {unknown}, which cpm {command_name} does not have; "
            "use it with the other command, or leave it out",
            name=name,
            unknown=unknown[0],
            command_name=ctx.command.name,
        )
    ctx.default_map = {**(ctx.default_map or {}), **options}


preset_option = click.option(
    "--preset",
    cls=SectionOption,
    section=SAMPLING,
    type=Text(),
    is_eager=True,
    expose_value=False,
    callback=_use_preset,
    help=later(
        "Use a named set of options: poem, qa, story or one of your own; 'list' "
        "lists all. Options given beside it count more."
    ),
)
