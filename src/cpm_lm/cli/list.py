"""`cpm list`: the models that can be called by name.

Knows options and printing; does not know where models are.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import click

from cpm_lm.cli.bars import columns, shortened, visible
from cpm_lm.cli.console import one_line, print_json
from cpm_lm.cli.figures import bytes_text, count_text
from cpm_lm.cli.help_pages import Verb
from cpm_lm.cli.options import json_option
from cpm_lm.languages import later, tr

if TYPE_CHECKING:
    from cpm_lm.checkpoints.installed import InstalledModel

__all__ = ["command"]

HEADINGS = (
    later("NAME"),
    later("FORMAT"),
    later("PARAMS"),
    later("SIZE"),
    later("TOKENIZER"),
    later("MADE"),
)
LONGEST = 36
"""Columns of a name in the table."""


@click.command("list", cls=Verb, short_help=later("List the models that have a name."))
@json_option
def command(as_json: bool) -> None:
    """List the models that can be used as -m NAME: the one in the package, and those that `cpm
    pull` or `cpm convert --name` made. They are in CPM_HOME, by default the user's data directory.
    """
    from cpm_lm.checkpoints.installed import installed_models

    found = installed_models()
    if as_json:
        print_json([dataclasses.asdict(model) for model in found])
        return
    for line in table([tuple(map(tr, HEADINGS)), *map(_row, found)]):
        click.echo(line)
    for model in found:
        if model.problem:
            click.echo(f"# {visible(model.name)}: {one_line(model.problem)}", err=True)


def _row(model: InstalledModel) -> tuple[str, ...]:
    made = datetime.fromisoformat(model.made).astimezone() if model.made else None
    return (
        shortened(visible(model.name), LONGEST),
        tr("damaged") if model.problem else model.weights or "?",
        "?" if model.parameters is None else count_text(model.parameters),
        bytes_text(model.bytes),
        model.tokenizer or tr("none"),
        tr("built in") if model.built_in else f"{made:%Y-%m-%d}" if made else "?",
    )


def table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield the rows of a table as lines, the columns aligned by display width."""
    widths = [max(map(columns, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (
            cell + " " * (width - columns(cell)) for cell, width in zip(row, widths, strict=True)
        )
        yield "  ".join(cells).rstrip()
