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
from cpm_lm.errors import RequestError

if TYPE_CHECKING:
    from cpm_lm.evaluation.divergence import Comparison

__all__ = ["command"]


@click.command("compare", cls=Verb, short_help="比较两个模型。Compare what two models predict.")
@click.argument("first", type=ModelPath(files=True))
@click.argument("second", type=ModelPath(files=True))
@click.option(
    "--text",
    required=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="用来比较的文本文件（UTF-8）。Text file in UTF-8 on which to compare them.",
)
@heads_option
@engine_options
@json_option
def command(first: Path, second: Path, text: Path, as_json: bool, **options: Any) -> None:
    """在一段文本上比较 FIRST 和 SECOND 对下一个词元的预测，例如原模型和它的 4 位量化。

    Compare the next-token predictions of FIRST and SECOND on a text, for example those of a model
    and its 4-bit quantization. Both may be in any readable form and must share a vocabulary.
    """
    from cpm_lm.evaluation.divergence import compare

    try:
        content = text.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RequestError("{text} is not UTF-8: {error}", text=text, error=error) from None
    with progress_bar("比较 Comparing") as progress:
        found = compare(first, second, content, **options, progress=progress)
    if as_json:
        print_json(found.to_json())
    else:
        _print(found)


def _print(found: Comparison) -> None:
    click.echo(
        f"词元 tokens: {found.tokens}，每段至多 in windows of {found.window}；"
        f"{found.first_weights}，{found.second_weights}"
    )
    click.echo(
        f"KL: 平均 mean {found.mean_kl:.3g}，最大 worst {found.worst_kl:.3g} nats "
        f"（词元 token {found.worst_token}）"
    )
    click.echo(f"首选一致率 same top token: {found.same_top:.2%}")
    if found.same_top_sure is not None:
        click.echo(
            f"  其中领先 0.1 以上 where it leads by more than 0.1: {found.same_top_sure:.2%} "
            f"（{found.sure} 个词元 tokens）"
        )
    if found.perplexity is not None:
        click.echo(
            f"困惑度 perplexity: {found.perplexity:.4g}，比值 ratio {found.perplexity_ratio:.5f}"
        )
