"""Text styles: the special pieces around and in the texts of models with BERT's WordPiece.

Knows roles of pieces (`cls`, `sep`, `bos`, ...); does not know ids or files. The vocabulary does
not determine the style: `[CLS]` begins a text for one trainer and ends a text for another.
"""

from __future__ import annotations

from dataclasses import dataclass

from cpm_lm.errors import TokenizerError

__all__ = ["DEFAULT_STYLE", "STYLES", "TextStyle", "style_named"]


@dataclass(frozen=True, kw_only=True)
class TextStyle:
    """The special pieces that a trainer put around a text and in it."""

    before: tuple[str, ...]
    """Roles of the pieces before every prompt."""
    end: str
    """The role of the piece that ends a text."""
    line_end: str | None = None
    """The role of the piece that encodes a newline; None if a newline is white space."""
    split_digits: bool = False
    """Whether every digit is a single word, even if the vocabulary has longer numbers."""

    @property
    def roles(self) -> frozenset[str]:
        """The roles for which the vocabulary must have a piece."""
        return frozenset(filter(None, (*self.before, self.end, self.line_end)))


STYLES = {
    # UER-py: `[CLS] text [SEP]`, as transformers' BertTokenizer by default.
    "uer": TextStyle(before=("cls",), end="sep"),
    # train.py: `[MASK] text [CLS]`, with [SEP] for a newline; generate.py adds nothing before a
    # prompt; tokenizations/tokenization_bert.py adds spaces around every digit.
    "gpt2-chinese": TextStyle(before=(), end="cls", line_end="sep", split_digits=True),
    # GPT2-chitchat: `[CLS] utterance [SEP] utterance [SEP]`, without token types.
    "gpt2-chitchat": TextStyle(before=("cls",), end="sep", line_end="sep"),
    # The bos_token and eos_token of the settings.
    "bos-eos": TextStyle(before=("bos",), end="eos"),
    "eos": TextStyle(before=(), end="eos"),
}
"""By name, as in `--text-style` and in a store: those of `choices.TextStyleName`."""

DEFAULT_STYLE = "uer"
"""Assumed for a model whose files do not tell the style, and for a store without a record."""


def style_named(name: object, where: str) -> TextStyle:
    """Return the text style of a name.

    Raises:
        TokenizerError: the name is unknown.
    """
    if not isinstance(name, str) or name not in STYLES:
        raise TokenizerError(
            "{where} is {name!a}; expected one of {styles}",
            where=where,
            name=str(name)[:60],
            styles=", ".join(STYLES),
        )
    return STYLES[name]
