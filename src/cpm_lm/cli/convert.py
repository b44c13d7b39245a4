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
from cpm_lm.languages import tr
from cpm_lm.tokenizer import Tokenizer

__all__ = ["command"]


@click.command("convert", cls=Verb, short_help="转换检查点。Convert a checkpoint.")
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
    """把 SOURCE 处的检查点转换为 TARGET 目录，或用 --name 存为一个有名字的模型。

    SOURCE 可以是 Megatron 的检查点（支持任意数量的分片）、Hugging Face 的 GPT-2 目录或其中一个
    权重文件、TensorFlow 的 SavedModel，或已转换的目录。

    Convert the checkpoint at SOURCE into the directory TARGET. SOURCE may be a Megatron checkpoint
    of any number of ranks, a Hugging Face GPT-2 directory or one of its weight files, a TensorFlow
    SavedModel, or a converted model. With --name instead of TARGET, the model is kept under a name,
    see `cpm list`.

    \b
    cpm convert CPM/ --name cpm-large --weights f16 --tokenizer bpe_3w_new/
    """
    from cpm_lm.checkpoints.convert import convert

    target = output_path(target, name)
    if target is None:
        raise click.UsageError(tr("give the directory TARGET to write, or a --name for the model"))
    with progress_bar("转换 Converting") as progress:
        manifest = convert(source, target, **options, progress=progress)
    if as_json:
        print_json(manifest.to_json())
        return
    size = sum(file.bytes for file in manifest.files)
    click.echo(
        f"{target}: {manifest.parameters:,} 个参数 parameters, {manifest.weights}, "
        f"{size:,} bytes, {manifest.ranks} rank(s) read"
    )
    if manifest.ignored:
        click.echo(f"略去 left out: {listed(manifest.ignored)}")
    for note in manifest.notes:
        click.echo(f"注意 warning: {note}")
    if not Tokenizer.files(target):
        click.echo(
            "没有词表，不能处理文本；请用 --tokenizer 目录 重新转换。"
            "Without a vocabulary the model cannot process text; convert again with --tokenizer."
        )
