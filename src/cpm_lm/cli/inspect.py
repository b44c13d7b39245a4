"""`cpm inspect`: describe a checkpoint or a store.

Knows options and printing; does not know the formats.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from cpm_lm.cli.console import listed, print_json, progress_bar
from cpm_lm.cli.figures import memory_lines
from cpm_lm.cli.help_pages import Verb
from cpm_lm.cli.options import json_option
from cpm_lm.cli.types import ModelPath
from cpm_lm.languages import later, tr

if TYPE_CHECKING:
    from cpm_lm.verification.inspect import Inspection

__all__ = ["command"]


@click.command("inspect", cls=Verb, short_help=later("Describe a checkpoint."))
@click.argument("path", type=ModelPath(files=True))
@click.option(
    "--digests/--no-digests",
    default=True,
    show_default=True,
    help=later("Compute digests, which identify a known release."),
)
@json_option
def command(path: Path, digests: bool, as_json: bool) -> None:
    """Describe the checkpoint or converted model at PATH."""
    from cpm_lm.verification.inspect import inspect

    with progress_bar(tr("Reading")) as progress:
        found = inspect(path, digests=digests, progress=progress)
    if as_json:
        print_json(found.to_json())
    else:
        _print(found, digests)


def _print(found: Inspection, digests: bool) -> None:
    """Print one line per property, file and engine."""
    lines = {
        tr("layout"): tr("{layout}, {ranks} rank(s)", layout=found.layout, ranks=found.ranks),
        tr("iteration"): "?" if found.iteration is None else f"{found.iteration}",
        tr("shape"): tr(
            "{layers} layers x {width}, {heads} heads, {positions} positions, {pieces} pieces",
            layers=found.n_layer,
            width=found.n_embd,
            heads=found.n_head or "?",
            positions=found.n_positions,
            pieces=found.vocab_size,
        ),
        tr("parameters"): f"{found.parameters:,}",
        tr("weights"): found.weights,
        tr("tokenizer"): tr("yes") if found.tokenizer else tr("no"),
        tr("text style"): f"{found.text_style} ({found.text_style_evidence})",
        tr("release"): found.release or (tr("unknown") if digests else tr("not checked")),
    }
    if found.text_style is None:
        del lines[tr("text style")]
    if found.origin is not None:
        lines[tr("origin")] = found.origin
    for label, value in lines.items():
        click.echo(f"{label}: {value}")
    for file in found.files:
        sha1 = f"  sha1 {file.sha1}" if file.sha1 else ""
        click.echo(tr("file: {name}  {size:,} bytes", name=file.name, size=file.bytes) + sha1)
    for line in memory_lines(found.memory):
        click.echo(line)
    if found.ignored:
        click.echo(tr("left out: {names}", names=listed(found.ignored)))
    for warning in found.warnings:
        click.echo(tr("warning: {warning}", warning=warning))
