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

if TYPE_CHECKING:
    from cpm_lm.verification.verify import Verification

__all__ = ["command", "print_verification"]


@click.command("verify", cls=Verb, short_help="检查模型是否完好。Check that a model is sound.")
@click.argument("path", type=ModelPath(files=True))
@click.option(
    "--against",
    type=ModelPath(files=True),
    help="与另一个模型（任何可读取的格式）比较 logits。"
    "Another model, in any readable form, with which to compare the logits.",
)
@click.option(
    "--tolerance",
    type=float,
    help="logits 的最大误差；默认同精度 1e-4，f16 1e-2，bf16 8e-2。"
    "Maximum difference of the logits; default 1e-4 for equal number formats, else 1e-2 for f16, "
    "8e-2 for bf16.",
)
@click.option(
    "--digests/--no-digests",
    default=True,
    show_default=True,
    help="核对文件摘要。Compare the files' digests with the manifest.",
)
@click.option(
    "--loss/--no-loss",
    default=True,
    show_default=True,
    help="在一段中文上计算损失。Measure the loss on a Chinese text.",
)
@heads_option
@engine_options
@json_option
def command(path: Path, as_json: bool, **options: Any) -> None:
    """检查 PATH 处的模型：文件、形状、数值、在一段中文上的损失；有问题时退出码为 1。

    Check the model at PATH: its files, shapes and weights, and its loss on a Chinese text. The exit
    code is 1 if there is a problem.
    """
    from cpm_lm.verification.verify import verify

    with progress_bar("核对 Checking") as progress:
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
        click.echo(f"参数 parameters: {found.parameters:,}, {found.weights}, {found.layout}")
    if found.files is not None:
        good = sum(file.problem is None for file in found.files)
        click.echo(f"文件 files: {good} / {len(found.files)} 与写入时相同 unchanged since written")
    if (text := found.sanity) is not None:
        click.echo(
            f"损失 loss: {text.loss:.2f} nats/token（{text.tokens} 个词元 tokens），"
            f"打乱后 shuffled {text.shuffled:.2f}，ln V = {text.uniform:.2f}"
        )
    if (apart := found.difference) is not None:
        click.echo(
            f"比较 against: {apart.largest:.3g}（至多 allowed {apart.tolerance:.3g}），"
            f"text {apart.row}, token {apart.position}, id {apart.token_id}; "
            f"首选一致率 same top token {apart.same_top:.1%}"
        )
    for note in found.notes:
        click.echo(f"注意 note: {note}")
    for problem in found.problems:
        click.echo(f"问题 problem: {one_line(problem)}")
    if not found.problems:
        click.echo("完好。Sound.")
