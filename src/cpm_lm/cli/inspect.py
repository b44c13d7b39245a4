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

if TYPE_CHECKING:
    from cpm_lm.verification.inspect import Inspection

__all__ = ["command"]


@click.command("inspect", cls=Verb, short_help="显示检查点的信息。Describe a checkpoint.")
@click.argument("path", type=ModelPath(files=True))
@click.option(
    "--digests/--no-digests",
    default=True,
    show_default=True,
    help="计算摘要，以识别已发布的权重。Compute digests, which identify a known release.",
)
@json_option
def command(path: Path, digests: bool, as_json: bool) -> None:
    """显示 PATH 处的检查点或已转换模型的信息。

    Describe the checkpoint or converted model at PATH.
    """
    from cpm_lm.verification.inspect import inspect

    with progress_bar("读取 Reading") as progress:
        found = inspect(path, digests=digests, progress=progress)
    if as_json:
        print_json(found.to_json())
    else:
        _print(found, digests)


def _print(found: Inspection, digests: bool) -> None:
    """Print one line per property, file and engine."""
    lines = {
        "格式 layout": f"{found.layout}, {found.ranks} rank(s)",
        "步数 iteration": "?" if found.iteration is None else f"{found.iteration}",
        "形状 shape": f"{found.n_layer} layers x {found.n_embd}, {found.n_head or '?'} heads, "
        f"{found.n_positions} positions, {found.vocab_size} pieces",
        "参数 parameters": f"{found.parameters:,}",
        "精度 weights": found.weights,
        "词表 tokenizer": "yes" if found.tokenizer else "no",
        "文本格式 text style": f"{found.text_style} ({found.text_style_evidence})",
        "发布 release": found.release or ("unknown" if digests else "not checked"),
    }
    if found.text_style is None:
        del lines["文本格式 text style"]
    if found.origin is not None:
        lines["来源 origin"] = found.origin
    for label, value in lines.items():
        click.echo(f"{label}: {value}")
    for file in found.files:
        sha1 = f"  sha1 {file.sha1}" if file.sha1 else ""
        click.echo(f"文件 file: {file.name}  {file.bytes:,} bytes{sha1}")
    for line in memory_lines(found.memory):
        click.echo(line)
    if found.ignored:
        click.echo(f"略去 left out: {listed(found.ignored)}")
    for warning in found.warnings:
        click.echo(f"注意 warning: {warning}")
