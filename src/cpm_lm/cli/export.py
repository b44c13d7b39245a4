"""`cpm export`: export a converted model as a TensorFlow SavedModel or a Keras file.

Knows options and printing; does not know the formats.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from cpm_lm.choices import ExportFormat, choices
from cpm_lm.cli.help_pages import Verb
from cpm_lm.cli.options import overwrite_option
from cpm_lm.cli.types import ModelPath

__all__ = ["command"]


@click.command("export", cls=Verb, short_help="导出供其他程序使用。Export for other programs.")
@click.argument("source", type=ModelPath())
@click.argument("target", type=click.Path(path_type=Path))
@click.option(
    "--format",
    type=click.Choice(choices(ExportFormat)),
    required=True,
    help="saved-model：可直接用 TensorFlow 加载的目录；keras：.keras 文件。"
    "saved-model: a directory that TensorFlow loads directly; keras: a .keras file.",
)
@click.option(
    "--weights",
    type=click.Choice(["f32", "f16", "bf16"]),
    default="f32",
    show_default=True,
    help="权重格式：32 位或 16 位。Number format of the weights.",
)
@click.option(
    "--compat",
    is_flag=True,
    help="比要求的多生成一个词元，与第一个 TensorFlow 移植版相同。"
    "Draw one token more than asked for, as the first TensorFlow port does.",
)
@click.option(
    "--short",
    is_flag=True,
    help="只有 inp、length 两个参数，与第一个移植版的 float16 模型相同。"
    "Only the arguments inp and length, as in the first port's float16 model.",
)
@click.option(
    "--end",
    type=click.IntRange(min=0),
    help="结束符的词元编号；默认用词表自己的，没有词表则为 7。"
    "Id of the end token; default: the tokenizer's, or 7 without a tokenizer.",
)
@overwrite_option
def command(source: Path, target: Path, **options: Any) -> None:
    """把 cpm convert 生成的目录 SOURCE 导出为 TARGET，供其他程序使用。

    Export SOURCE, a directory made by `cpm convert`, to TARGET, for other programs.
    """
    from cpm_lm.gpt.export import export

    done = export(source, target, **options)
    click.echo(
        f"{target}: {done.parameters:,} 个参数 parameters, {done.weights}, {done.bytes:,} bytes"
    )
