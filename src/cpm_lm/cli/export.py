"""`cpm export`: export a converted model as a TensorFlow SavedModel or a Keras file.

Knows options and printing; does not know the formats.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from cpm_lm.choices import ExportFormat, choices
from cpm_lm.cli.help_pages import Verb
from cpm_lm.cli.options import overwrite_option
from cpm_lm.cli.types import ModelPath
from cpm_lm.languages import later, tr

__all__ = ["command"]


@click.command("export", cls=Verb, short_help=later("Export for other programs."))
@click.argument("source", type=ModelPath())
@click.argument("target", type=click.Path(path_type=Path))
@click.option(
    "--format",
    type=click.Choice(choices(ExportFormat)),
    required=True,
    help=later("saved-model: a directory that TensorFlow loads directly; keras: a .keras file."),
)
@click.option(
    "--weights",
    type=click.Choice(["f32", "f16", "bf16"]),
    default="f32",
    show_default=True,
    help=later("Number format of the weights."),
)
@click.option(
    "--compat",
    is_flag=True,
    help=later("Draw one token more than asked for, as the first TensorFlow port does."),
)
@click.option(
    "--short",
    is_flag=True,
    help=later("Only the arguments inp and length, as in the first port's float16 model."),
)
@click.option(
    "--end",
    type=click.IntRange(min=0),
    help=later("Id of the end token; default: the tokenizer's, or 7 without a tokenizer."),
)
@overwrite_option
def command(source: Path, target: Path, **options: Any) -> None:
    """Export SOURCE, a directory made by `cpm convert`, to TARGET, for other programs."""
    from cpm_lm.gpt.export import export

    done = export(source, target, **options)
    click.echo(
        tr(
            "{target}: {count:,} parameters, {weights}, {size:,} bytes",
            target=target,
            count=done.parameters,
            weights=done.weights,
            size=done.bytes,
        )
    )
