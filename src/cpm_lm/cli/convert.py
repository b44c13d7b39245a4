"""`cpm convert`: convert a checkpoint.

Knows options and printing; does not know the formats.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from cpm_lm.cli.console import listed, print_json, progress_bar
from cpm_lm.cli.help_pages import Verb
from cpm_lm.cli.options import convert_options, json_option, name_option, output_path
from cpm_lm.cli.types import ModelPath
from cpm_lm.languages import later, tr
from cpm_lm.tokenizer import Tokenizer

__all__ = ["command"]


@click.command("convert", cls=Verb, short_help=later("Convert a checkpoint."))
@click.argument("source", type=ModelPath(files=True))
@click.argument("target", type=click.Path(path_type=Path), required=False)
@name_option
@convert_options
@json_option
def command(
    source: Path,
    target: Path | None,
    name: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Convert the checkpoint at SOURCE into the directory TARGET. SOURCE may be a Megatron
    checkpoint of any number of ranks, a Hugging Face GPT-2 directory or one of its weight files, a
    TensorFlow SavedModel, or a converted model. With --name instead of TARGET, the model is kept
    under a name, see `cpm list`.

    \b
    cpm convert CPM/ --name cpm-large --weights f16 --tokenizer bpe_3w_new/
    """
    from cpm_lm.checkpoints.convert import convert

    target = output_path(target, name)
    if target is None:
        raise click.UsageError(tr("give the directory TARGET to write, or a --name for the model"))
    with progress_bar(tr("Converting")) as progress:
        manifest = convert(source, target, **options, progress=progress)
    if as_json:
        print_json(manifest.to_json())
        return
    size = sum(file.bytes for file in manifest.files)
    click.echo(
        tr(
            "{target}: {count:,} parameters, {weights}, {size:,} bytes, {ranks} rank(s) read",
            target=target,
            count=manifest.parameters,
            weights=manifest.weights,
            size=size,
            ranks=manifest.ranks,
        )
    )
    if manifest.ignored:
        click.echo(tr("left out: {names}", names=listed(manifest.ignored)))
    for note in manifest.notes:
        click.echo(tr("warning: {warning}", warning=note))
    if not Tokenizer.files(target):
        click.echo(
            tr(
                "Without a vocabulary the model cannot process text; convert again with "
                "--tokenizer."
            )
        )
