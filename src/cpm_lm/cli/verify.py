"""`cpm verify`: check a model's files, weights and loss.

Knows options and printing; does not know the checks.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cpm_lm.cli.console import one_line, print_json, progress_bar
from cpm_lm.cli.help_pages import Verb
from cpm_lm.cli.options import engine_options, heads_option, json_option
from cpm_lm.cli.types import ModelPath
from cpm_lm.languages import later, tr

if TYPE_CHECKING:
    from cpm_lm.verification.verify import Verification

__all__ = ["command", "print_verification"]


@click.command("verify", cls=Verb, short_help=later("Check that a model is sound."))
@click.argument("path", type=ModelPath(files=True))
@click.option(
    "--against",
    type=ModelPath(files=True),
    help=later("Another model, in any readable form, with which to compare the logits."),
)
@click.option(
    "--tolerance",
    type=float,
    help=later(
        "Maximum difference of the logits; default 1e-4 for equal number formats, "
        "else 1e-2 for f16, 8e-2 for bf16."
    ),
)
@click.option(
    "--digests/--no-digests",
    default=True,
    show_default=True,
    help=later("Compare the files' digests with the manifest."),
)
@click.option(
    "--loss/--no-loss",
    default=True,
    show_default=True,
    help=later("Measure the loss on a Chinese text."),
)
@heads_option
@engine_options
@json_option
def command(path: Path, as_json: bool, **options: Any) -> None:
    """Check the model at PATH: its files, shapes and weights, and its loss on a Chinese text. The
    exit code is 1 if there is a problem.
    """
    from cpm_lm.verification.verify import verify

    with progress_bar(tr("Checking")) as progress:
        found = verify(path, **options, progress=progress)
    if as_json:
        print_json(found.to_json())
    else:
        print_verification(found)
    if found.problems:
        sys.exit(1)


def print_verification(found: Verification) -> None:
    """Print one line per result, note and problem."""
    if found.parameters is not None:
        click.echo(
            tr(
                "parameters: {count:,}, {weights}, {layout}",
                count=found.parameters,
                weights=found.weights,
                layout=found.layout,
            )
        )
    if found.files is not None:
        good = sum(file.problem is None for file in found.files)
        click.echo(tr("files: {good} / {n} unchanged since written", good=good, n=len(found.files)))
    if (text := found.sanity) is not None:
        click.echo(
            tr(
                "loss: {loss:.2f} nats/token ({tokens} tokens), shuffled {shuffled:.2f}, "
                "ln V = {uniform:.2f}",
                loss=text.loss,
                tokens=text.tokens,
                shuffled=text.shuffled,
                uniform=text.uniform,
            )
        )
    if (apart := found.difference) is not None:
        click.echo(
            tr(
                "against: {largest:.3g} (allowed {tolerance:.3g}), text {row}, token {position}, "
                "id {token_id}; same top token {same_top:.1%}",
                largest=apart.largest,
                tolerance=apart.tolerance,
                row=apart.row,
                position=apart.position,
                token_id=apart.token_id,
                same_top=apart.same_top,
            )
        )
    for note in found.notes:
        click.echo(tr("note: {note}", note=note))
    for problem in found.problems:
        click.echo(tr("problem: {problem}", problem=one_line(problem)))
    if not found.problems:
        click.echo(tr("Sound."))
