"""How texts begin and end in ids: the conventions of models with BERT's word pieces, as a table.

Knows roles of pieces (`cls`, `sep`, `bos`, ...); does not know their ids, nor files. The vocabulary
does not tell the convention: `[CLS]` begins a text of one trainer and ends a text of another.
"""

from __future__ import annotations

from dataclasses import dataclass

from cpm_lm.errors import TokenizerError

__all__ = ["DEFAULT_STYLE", "STYLES", "TextStyle", "style_named"]


@dataclass(frozen=True, kw_only=True)
class TextStyle:
    """A trainer's convention: which pieces it put around a text and in it."""

    before: tuple[str, ...]
    """Roles of the pieces before every prompt."""
    end: str
    """The role of the piece that ends a text."""
    line_end: str | None = None
    """The role of the piece that is a line end; None: a line end is a space."""
    split_digits: bool = False
    """Whether every digit is a word of its own, whatever longer pieces there are."""

    @property
    def roles(self) -> frozenset[str]:
        """The roles that a vocabulary must have a piece for."""
        return frozenset(filter(None, (*self.before, self.end, self.line_end)))


STYLES = {
    # UER-py: `[CLS] text [SEP]`; transformers' BertTokenizer puts the same around a text.
    "uer": TextStyle(before=("cls",), end="sep"),
    # train.py: `[MASK] text [CLS]`, "\n" replaced by [SEP]; generate.py puts nothing before a
    # prompt; tokenizations/tokenization_bert.py puts spaces around every digit.
    "gpt2-chinese": TextStyle(before=(), end="cls", line_end="sep", split_digits=True),
    # GPT2-chitchat: `[CLS] utterance [SEP] utterance [SEP]`, without token types.
    "gpt2-chitchat": TextStyle(before=("cls",), end="sep", line_end="sep"),
    # The pieces that the files name bos_token and eos_token.
    "bos-eos": TextStyle(before=("bos",), end="eos"),
    "eos": TextStyle(before=(), end="eos"),
}
"""By the names that users give, and that stores record."""

DEFAULT_STYLE = "uer"
"""What was assumed of every model until stores recorded it."""


def style_named(name: object, where: str) -> TextStyle:
    """Return a convention by its name.

    Raises:
        TokenizerError: there is none of this name.
    """
    if not isinstance(name, str) or name not in STYLES:
        raise TokenizerError(f"{where} is {str(name)[:60]!a}; expected one of {', '.join(STYLES)}")
    return STYLES[name]
