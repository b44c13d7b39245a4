"""`cpm show`: the card of a model that has a name.

Knows options and printing; does not know where models are.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import click

from cpm_lm.cli.console import listed, one_line, print_json
from cpm_lm.cli.figures import bytes_text, memory_lines
from cpm_lm.cli.help_pages import Verb
from cpm_lm.cli.options import json_option
from cpm_lm.cli.types import ModelPath
from cpm_lm.languages import later, tr

if TYPE_CHECKING:
    from pathlib import Path

    from cpm_lm.checkpoints.card import Card

__all__ = ["command"]


@click.command("show", cls=Verb, short_help=later("Show the card of a model."))
@click.argument("model", type=ModelPath())
@json_option
def command(model: Path, as_json: bool) -> None:
    """Show what was recorded when MODEL was converted: origin, license, formats, text style,
    digests. It reads no weights: `cpm inspect` describes the files themselves, in any form, `cpm
    verify` checks them.

    \b
    cpm show demo
    """
    from cpm_lm.checkpoints.card import read_card
    from cpm_lm.checkpoints.layout import Dims
    from cpm_lm.engines.footprint import engine_memory

    card = read_card(model)
    memory = engine_memory(Dims.of(card.config), card.manifest.weights)
    if as_json:
        needs = [dataclasses.asdict(need) for need in memory]
        print_json({**dataclasses.asdict(card), "memory": needs})
        return
    _print(card)
    for line in memory_lines(memory):
        click.echo(line)


def _print(card: Card) -> None:
    """Print one line per property, file and note."""
    model, manifest = card.model, card.manifest
    shape = card.config
    lines = {
        tr("name"): model.name,
        tr("directory"): model.path,
        tr("origin"): model.origin or tr("not recorded"),
        tr("license"): model.license or tr("not known; see the publisher's page"),
        tr("parameters"): f"{manifest.parameters:,}",
        tr("shape"): tr(
            "{layers} layers x {width}, {heads} heads, {positions} positions, {pieces} pieces",
            layers=shape.n_layer,
            width=shape.n_embd,
            heads=shape.n_head,
            positions=shape.n_positions,
            pieces=shape.vocab_size,
        ),
        tr("weights"): f"{manifest.weights}{_rounding(card)}",
        tr("tokenizer"): model.tokenizer or tr("none"),
        tr("text style"): model.text_style,
        tr("converted"): f"{model.made}, {manifest.tool}",
        tr("from"): tr("{layout}, {ranks} rank(s)", layout=manifest.layout, ranks=manifest.ranks),
        tr("iteration"): None if manifest.iteration is None else str(manifest.iteration),
        tr("size"): bytes_text(model.bytes),
    }
    for label, value in lines.items():
        if value is not None:
            click.echo(f"{label}: {one_line(value)}")
    for kind, files in ((tr("source"), manifest.sources), (tr("file"), manifest.files)):
        for file in files:
            size = tr("{n:,} bytes", n=file.bytes)
            click.echo(f"{kind}: {one_line(file.name)}  {size}")
            click.echo(f"  sha256 {one_line(file.sha256)}")
    if manifest.ignored:
        click.echo(tr("left out: {names}", names=one_line(listed(manifest.ignored))))
    for note in manifest.notes:
        click.echo(tr("warning: {warning}", warning=one_line(note)))
    if model.problem:
        click.echo(tr("problem: {problem}", problem=one_line(model.problem)))


def _rounding(card: Card) -> str:
    """Return how matrices were quantized, and the worst error, if they were."""
    if card.manifest.rounding is None:
        return ""
    worst = max(card.manifest.errors.values(), default=0.0)
    return f", rounding {card.manifest.rounding}, worst relative error {worst:.3g}"
