"""What a caller may choose about a conversion: the one place of defaults and words.

Knows which forms and formats there are; does not know the source.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from cpm_lm.checkpoints.forms import Form, form_named
from cpm_lm.checkpoints.layouts.megatron_writer import LAYOUTS
from cpm_lm.config import GPTConfig
from cpm_lm.errors import ConfigError
from cpm_lm.tokenizer.text_style import STYLES

__all__ = ["ConvertOptions"]


@dataclass(frozen=True, kw_only=True)
class ConvertOptions:
    """The options of `convert`.

    Raises:
        ConfigError: a form, a number format or a layout is unknown, or does not go with another.
    """

    to: str = field(
        default="store",
        metadata={
            "help": "写成哪种形式；store 的目录也就是 Hugging Face 的目录。"
            "The form to write; a store is a Hugging Face directory as well."
        },
    )
    """`store`, or `huggingface`, which is the same; `megatron`, the original's shards."""
    weights: str = field(
        default="f32",
        metadata={
            "help": "权重的存法：32 位、16 位，或 8 位、4 位的矩阵；q4 还要让模型算一小段，慢一些。"
            "How the weights are stored: 32 or 16 bits, or matrices of 8 or 4; q4 runs the model "
            "on some ids as well, which takes longer."
        },
    )
    """`f32`, `f16` or `bf16`, rounded to nearest even; or of a store `q8` or `q4`, matrices of 8 or
    4 bits with a scale for each group of numbers (the word embedding has 8 bits in both). `q4` is
    rounded for the model's own activations on fixed random ids, of which it computes a page."""
    config: str | Path | GPTConfig | None = field(
        default=None,
        metadata={
            "help": "模型配置（JSON）。"
            "The model's configuration, where the checkpoint does not say it."
        },
    )
    """The model's shape, or a JSON file with it, in Hugging Face's or the original's names; it must
    agree with the tensors."""
    heads: int | None = field(
        default=None,
        metadata={
            "help": "注意力头数，文件里没有写；已知的 CPM 形状可省略。"
            "Attention heads, which the files do not say; known CPM shapes need none."
        },
    )
    """The number of attention heads, which shards do not say; needed unless `config` is given or
    the width is that of a published CPM model."""
    tokenizer: str | Path | None = field(
        default=None,
        metadata={
            "help": "词表所在的目录：chinese_vocab.model，或 BERT 的 vocab.txt。"
            "The directory of the vocabulary: CPM's, or BERT's word pieces."
        },
    )
    """A directory with `chinese_vocab.model` and, for the older vocabulary, `vocab.json`; or with
    BERT's word pieces, `vocab.txt`. Default: the source's own, if it lies beside the weights; else
    the store has none. Its size must be that of the word embedding exactly: rows without a piece
    could be drawn and have no text."""
    text_style: str | None = field(
        default=None,
        metadata={
            "help": "BERT 词表（vocab.txt）的模型用哪种文本格式：提示前、结尾、换行用什么词元，"
            "数字是否逐位切分；默认由文件判断，判断不出时必填。"
            "Text style of a model with BERT's vocab.txt: the special pieces around a text; "
            "by default as the files tell, required if they do not."
        },
    )
    """The text style of a model with BERT's WordPiece, which the result records. `uer`: `[CLS]`
    before a prompt, `[SEP]` ends a text. `gpt2-chinese`, by that project's train.py: nothing before
    a prompt, `[SEP]` is a newline, `[CLS]` ends a text, every digit is a piece. `gpt2-chitchat`:
    `[CLS]` before a prompt, one utterance per line, `[SEP]` ends each. `bos-eos` and `eos`: the
    eos_token of the settings ends a text, with the bos_token before a prompt, or nothing. By
    default as the files tell; required if they do not."""
    ranks: int | None = field(
        default=None,
        metadata={
            "help": "megatron 写成几份，默认 1；须整除头数和词表。"
            "How many shards megatron writes, default 1; must divide heads and pieces."
        },
    )
    """How many shards `megatron` writes, default 1; must divide heads and pieces."""
    layout: str | None = field(
        default=None,
        metadata={
            "help": "megatron 的目录布局，默认 deepspeed，即 CPM-LM 发布时的布局。"
            "How these shards lie; default deepspeed, as CPM-LM was published."
        },
    )
    """How they lie: `deepspeed` (default), as CPM-LM was published, or `megatron`."""
    overwrite: bool = field(
        default=False,
        metadata={
            "help": "替换已有的目标，连同其中所有文件。"
            "Replace an existing target, with all files in it."
        },
    )
    """Replace an existing store, once the new one is complete."""

    def __post_init__(self) -> None:
        _ = self.form
        if self.to != "megatron" and (self.ranks, self.layout) != (None, None):
            raise ConfigError(f"ranks and layout are of the form 'megatron', but to is {self.to!r}")
        if self.layout not in (None, *LAYOUTS):
            raise ConfigError(f"layout is {self.layout!r}; expected one of {', '.join(LAYOUTS)}")
        if self.text_style not in (None, *STYLES):
            raise ConfigError(
                f"text_style is {self.text_style!r}; expected one of {', '.join(STYLES)}"
            )

    @property
    def form(self) -> Form:
        """The form to write.

        Raises:
            ConfigError: it is unknown, or has no such numbers.
        """
        return form_named(self.to, self.weights)
