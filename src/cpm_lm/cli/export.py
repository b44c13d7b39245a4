"""`cpm export`: from a converted model to a TensorFlow SavedModel or a Keras file."""

from __future__ import annotations

from pathlib import Path

import click

from cpm_lm.cli.options import overwrite_option

__all__ = ["command"]


@click.command("export", short_help="导出给其他程序。Export for other programs.")
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("target", type=click.Path(path_type=Path))
@click.option(
    "--format",
    type=click.Choice(["keras", "saved-model"]),
    required=True,
    help="saved-model：TensorFlow 直接载入的目录；keras：一个 .keras 文件。"
    "A directory that TensorFlow loads by itself, or a .keras file.",
)
@click.option(
    "--weights",
    type=click.Choice(["f32", "f16", "bf16"]),
    default="f32",
    show_default=True,
    help="权重的存法：32 位或 16 位。How the weights are stored.",
)
@click.option(
    "--compat",
    is_flag=True,
    help="如第一个 TensorFlow 移植版，比要求的多生成一个词。"
    "Draw one token more than asked for, as the first TensorFlow port does.",
)
@click.option(
    "--short",
    is_flag=True,
    help="只有 inp、length 两个参数，如第一个移植版的 float16 模型。"
    "Only the arguments inp and length, as the first port's float16 model has.",
)
@click.option(
    "--end",
    type=click.IntRange(min=0),
    help="结束文本的编号；省略时用词表自己的，没有词表则为 7。"
    "The id that ends a text; default: the tokenizer's, or 7 without one.",
)
@overwrite_option
def command(
    source: Path,
    target: Path,
    format: str,  # noqa: A002
    weights: str,
    compat: bool,
    short: bool,
    end: int | None,
    overwrite: bool,
) -> None:
    """把 cpm convert 得到的目录 SOURCE 导出为 TARGET，供其他程序使用。

    Export SOURCE, a directory made by `cpm convert`, to TARGET, for other programs.
    """
    from cpm_lm.gpt.export import export

    done = export(
        source,
        target,
        format=format,
        weights=weights,
        compat=compat,
        short=short,
        end=end,
        overwrite=overwrite,
    )
    click.echo(
        f"{target}: {done.parameters:,} 个参数 parameters, {done.weights}, {done.bytes:,} bytes"
    )
