"""`cpm compare`: the difference between the predictions of two models.

Knows options and printing; does not know the measures.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cpm_lm.cli.console import print_json, progress_bar
from cpm_lm.cli.help_pages import Verb
from cpm_lm.cli.options import engine_options, heads_option, json_option
from cpm_lm.cli.types import ModelPath
from cpm_lm.encodings import decoded
from cpm_lm.languages import later, tr

if TYPE_CHECKING:
    from cpm_lm.evaluation.divergence import Comparison

__all__ = ["command"]


@click.command("compare", cls=Verb, short_help=later("Compare what two models predict."))
@click.argument("first", type=ModelPath(files=True))
@click.argument("second", type=ModelPath(files=True))
@click.option(
    "--text",
    required=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help=later("Text file in UTF-8 on which to compare them."),
)
@heads_option
@engine_options
@json_option
def command(first: Path, second: Path, text: Path, as_json: bool, **options: Any) -> None:
    """Compare the next-token predictions of FIRST and SECOND on a text, for example those of a
    model and its 4-bit quantization. Both may be in any readable form and must share a vocabulary.
    """
    from cpm_lm.evaluation.divergence import compare

    content = decoded(str(text), text.read_bytes()).replace("\r\n", "\n")
    with progress_bar(tr("Comparing")) as progress:
        found = compare(first, second, content, **options, progress=progress)
    if as_json:
        print_json(found.to_json())
    else:
        _print(found)


def _print(found: Comparison) -> None:
    click.echo(
        tr(
            "tokens: {tokens}, in windows of {window}; {first}, {second}",
            tokens=found.tokens,
            window=found.window,
            first=found.first_weights,
            second=found.second_weights,
        )
    )
    click.echo(
        tr(
            "KL: mean {mean:.3g}, worst {worst:.3g} nats (token {token})",
            mean=found.mean_kl,
            worst=found.worst_kl,
            token=found.worst_token,
        )
    )
    click.echo(tr("same top token: {share:.2%}", share=found.same_top))
    if found.same_top_sure is not None:
        click.echo(
            "  "
            + tr(
                "where it leads by more than 0.1: {share:.2%} ({n} tokens)",
                share=found.same_top_sure,
                n=found.sure,
            )
        )
    if found.perplexity is not None:
        click.echo(
            tr(
                "perplexity: {value:.4g}, ratio {ratio:.5f}",
                value=found.perplexity,
                ratio=found.perplexity_ratio,
            )
        )
