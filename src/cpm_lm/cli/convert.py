"""`cpm convert`: from the original's files to a store."""

from __future__ import annotations

from pathlib import Path

import click

from cpm_lm.checkpoints.forms import FORMS
from cpm_lm.checkpoints.layouts.megatron_writer import LAYOUTS
from cpm_lm.cli.console import listed, print_json, progress_bar
from cpm_lm.cli.options import json_option, overwrite_option
from cpm_lm.tokenizer import Tokenizer

__all__ = ["command"]


@click.command("convert", short_help="转换检查点。Convert a checkpoint.")
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("target", type=click.Path(path_type=Path))
@click.option(
    "--to",
    type=click.Choice(list(FORMS)),
    default="store",
    show_default=True,
    help="写成哪种形式；store 的目录也就是 Hugging Face 的目录。"
    "The form to write; a store is a Hugging Face directory as well.",
)
@click.option(
    "--weights",
    type=click.Choice(FORMS["store"].formats),
    default="f32",
    show_default=True,
    help="权重的存法：32 位、16 位，或 8 位、4 位的矩阵；q4 还要让模型算一小段，慢一些。"
    "How the weights are stored: 32 or 16 bits, or matrices of 8 or 4; q4 runs the model on some "
    "ids as well, which takes longer.",
)
@click.option(
    "--config",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="模型配置（JSON）。The model's configuration, where the checkpoint does not say it.",
)
@click.option(
    "--heads",
    type=click.IntRange(min=1),
    help="注意力头数，文件里没有写；已知的 CPM 形状可省略。"
    "Attention heads, which the files do not say; known CPM shapes need none.",
)
@click.option(
    "--tokenizer",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="词表所在的目录：chinese_vocab.model，或 BERT 的 vocab.txt。"
    "The directory of the vocabulary: CPM's, or BERT's word pieces.",
)
@click.option(
    "--ranks",
    type=click.IntRange(min=1),
    help="megatron 写成几份，默认 1；须整除头数和词表。"
    "How many shards megatron writes, default 1; must divide heads and pieces.",
)
@click.option(
    "--layout",
    type=click.Choice(LAYOUTS),
    help="megatron 的目录布局，默认 deepspeed，即 CPM-LM 发布时的布局。"
    "How these shards lie; default deepspeed, as CPM-LM was published.",
)
@overwrite_option
@json_option
def command(
    source: Path,
    target: Path,
    to: str,
    weights: str,
    config: Path | None,
    heads: int | None,
    tokenizer: Path | None,
    ranks: int | None,
    layout: str | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """把 SOURCE 处的检查点转换为 TARGET 目录。

    SOURCE 可以是 Megatron 的检查点（任何份数）、Hugging Face 的 GPT-2 目录、
    TensorFlow 的 SavedModel，或已转换的目录。

    Convert the checkpoint at SOURCE into the directory TARGET: Megatron's of any number of ranks,
    a GPT-2 directory of Hugging Face's, a TensorFlow SavedModel, or a converted model.
    """
    from cpm_lm.checkpoints.convert import convert

    with progress_bar("转换 Converting") as progress:
        manifest = convert(
            source,
            target,
            to=to,
            weights=weights,
            config=config,
            heads=heads,
            tokenizer=tokenizer,
            ranks=ranks,
            layout=layout,
            overwrite=overwrite,
            progress=progress,
        )
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
            "没有词表，不能读写文字；用 --tokenizer 目录 再转换一次。"
            "Without a vocabulary it cannot read or write text; convert again with --tokenizer."
        )
