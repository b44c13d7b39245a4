"""The options of a conversion, with their defaults and help texts.

Knows which forms and number formats exist; does not know the source.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from cpm_lm.choices import FormName, Layout, TextStyleName, WeightFormat, choices
from cpm_lm.config import GPTConfig
from cpm_lm.errors import ConfigError
from cpm_lm.languages import later

if TYPE_CHECKING:
    from cpm_lm.checkpoints.forms import Form

__all__ = ["ConvertOptions"]


@dataclass(frozen=True, kw_only=True)
class ConvertOptions:
    """The options of `convert`.

    Raises:
        ConfigError: a form, a number format or a layout is unknown, or the combination is invalid.
    """

    to: FormName = field(
        default="store",
        metadata={"help": later("Output form; a store is also a Hugging Face directory.")},
    )
    """`store`; `huggingface`, the same files but floats only; or `megatron`, the original's
    shards."""
    weights: WeightFormat = field(
        default="f32",
        metadata={
            "help": later(
                "Number format of the weights: 32-bit or 16-bit floats, or matrices "
                "quantized to 8 or 4 bits; q4 runs the model for calibration, which takes "
                "longer."
            )
        },
    )
    """`f32`, `f16` or `bf16`, rounded to nearest even. A store also supports `q8` and `q4`:
    matrices of 8 or 4 bits with one scale for each group of values (the word embedding has 8 bits
    in both). `q4` uses GPTQ, calibrated on the model's activations for fixed random ids."""
    config: str | Path | GPTConfig | None = field(
        default=None,
        metadata={"help": later("The model's configuration, if the checkpoint has none.")},
    )
    """The model's configuration, or a JSON file with it, with Hugging Face's key names or the
    original's. It must match the tensors."""
    heads: int | None = field(
        default=None,
        metadata={
            "help": later(
                "Number of attention heads, if not recorded; not needed for the widths of "
                "CPM models."
            )
        },
    )
    """The number of attention heads, which shards do not record. It is required unless `config` is
    given or the width is that of a published CPM model."""
    tokenizer: str | Path | None = field(
        default=None,
        metadata={
            "help": later(
                "The directory of the vocabulary: chinese_vocab.model, or BERT's vocab.txt."
            )
        },
    )
    """A directory with `chinese_vocab.model` and, for the older vocabulary, `vocab.json`; or with
    BERT's word pieces, `vocab.txt`. Default: the one beside the weights, if any; else the store has
    no tokenizer. The vocabulary size must equal the rows of the word embedding: a row without a
    piece could be sampled, but has no text; see `trim_vocabulary`."""
    text_style: TextStyleName | None = field(
        default=None,
        metadata={
            "help": later(
                "Text style of a model with BERT's vocab.txt: the special pieces around a "
                "text; by default as the files tell, required if they do not."
            )
        },
    )
    """The text style of a model with BERT's WordPiece, which the result records. `uer`: `[CLS]`
    before a prompt, `[SEP]` ends a text. `gpt2-chinese`, by that project's train.py: nothing before
    a prompt, `[SEP]` is a newline, `[CLS]` ends a text, every digit is a piece. `gpt2-chitchat`:
    `[CLS]` before a prompt, one utterance per line, `[SEP]` ends each. `bos-eos` and `eos`: the
    eos_token of the settings ends a text, with the bos_token before a prompt, or nothing. By
    default as the files tell; required if they do not."""
    trim_vocabulary: bool = field(
        default=False,
        metadata={
            "help": later(
                "Cut the surplus rows at the end of the word embedding, padding of "
                "Megatron's that has no piece."
            )
        },
    )
    """Cut the rows at the end of the word embedding that have no piece. Megatron pads the embedding
    to a multiple of 128 rows for each rank. The number of pieces is that of the vocabulary, or
    else of `config`."""
    ranks: int | None = field(
        default=None,
        metadata={
            "help": later(
                "Number of megatron shards, default 1; must divide the heads and the "
                "vocabulary size."
            )
        },
    )
    """The number of `megatron` shards, default 1. It must divide the number of heads and the
    vocabulary size."""
    layout: Layout | None = field(
        default=None,
        metadata={
            "help": later(
                "Directory layout of megatron shards; default deepspeed, as CPM-LM was published."
            )
        },
    )
    """The directory layout of `megatron` shards: `deepspeed` (default), as CPM-LM was published,
    or `megatron`."""
    overwrite: bool = field(
        default=False,
        metadata={"help": later("Replace an existing target, with all files in it.")},
    )
    """Replace an existing target, once the new one is complete."""

    def __post_init__(self) -> None:
        _ = self.form
        if self.to != "megatron" and (self.ranks, self.layout) != (None, None):
            raise ConfigError(
                "ranks and layout are options of 'megatron', but to is {to!r}", to=self.to
            )
        if self.layout not in (None, *choices(Layout)):
            known = ", ".join(choices(Layout))
            raise ConfigError(
                "layout is {layout!r}; expected one of {known}", layout=self.layout, known=known
            )
        if self.text_style not in (None, *choices(TextStyleName)):
            known = ", ".join(choices(TextStyleName))
            raise ConfigError(
                "text_style is {text_style!r}; expected one of {known}",
                text_style=self.text_style,
                known=known,
            )

    @property
    def form(self) -> Form:
        """The form to write.

        Raises:
            ConfigError: it is unknown, or does not support the number format.
        """
        from cpm_lm.checkpoints.forms import form_named  # the writers, which few need

        return form_named(self.to, self.weights)
