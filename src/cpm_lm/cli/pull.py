"""`cpm pull`: download and convert a published model by its name.

Knows options and printing; does not know the hub.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import click

from cpm_lm.choices import WeightFormat, choices
from cpm_lm.cli.console import print_json, progress_bar
from cpm_lm.cli.known_models import PublishedName, PullCommand
from cpm_lm.cli.options import (
    engine_options,
    json_option,
    name_option,
    output_path,
    overwrite_option,
    text_style_option,
)
from cpm_lm.cli.verify import print_verification
from cpm_lm.languages import later, tr

__all__ = ["command"]

STAGES = {
    "fetch": later("Downloading"),
    "convert": later("Converting"),
    "verify": later("Checking"),
}


@click.command(
    "pull",
    cls=PullCommand,
    short_help=later("Download and convert a published model."),
)
@click.argument("model", type=PublishedName())
@name_option
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path),
    help=later("Write to this directory; default: a model under its own name, see `cpm list`."),
)
@click.option(
    "--weights",
    type=click.Choice(choices(WeightFormat)),
    help=later("Number format of the weights; default: as published."),
)
@click.option(
    "--revision",
    default="main",
    show_default=True,
    help=later("A branch, a tag or a commit."),
)
@text_style_option
@overwrite_option
@engine_options
@json_option
def command(
    model: str, name: str | None, output: Path | None, as_json: bool, **options: Any
) -> None:
    """Download MODEL from the Hugging Face hub or a mirror (HF_ENDPOINT), convert it and check it.
    After an interruption, the same command continues the download. MODEL is owner/name, or the
    name alone of one of these:
    """
    from cpm_lm.hub.pull import pull

    output = output_path(output, name)
    with _resumable(), _stages() as progress:
        pulled = pull(model, output, **options, progress=progress)
    if as_json:
        found = dataclasses.asdict(pulled.fetched) | {"directory": str(pulled.fetched.directory)}
        made = {"manifest": pulled.manifest.to_json()}
        checked = {"verification": pulled.verification.to_json()}
        print_json({"fetched": found, "target": str(pulled.target), **made, **checked})
    else:
        size = tr("{n:,} bytes", n=pulled.fetched.bytes)
        click.echo(f"{pulled.target}: {pulled.fetched.name} @ {pulled.fetched.commit[:10]}, {size}")
        click.echo(
            tr("The downloaded files are in {directory}", directory=pulled.fetched.directory)
        )
        print_verification(pulled.verification)
    if pulled.verification.problems:
        sys.exit(1)


@contextmanager
def _resumable() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        click.echo("cpm: " + tr("interrupted; run the same command to continue"), err=True)
        raise


@contextmanager
def _stages() -> Iterator[Callable[[str, int, int], None]]:
    """Return a function of (stage, done, total) that draws one progress bar per stage."""
    with ExitStack() as bars:
        drawn: dict[str, Callable[[int, int], None]] = {}

        def update(stage: str, done: int, total: int) -> None:
            if stage not in drawn:
                bars.close()
                drawn[stage] = bars.enter_context(progress_bar(STAGES[stage]))
            drawn[stage](done, total)

        yield update
