"""The families of vocabularies, in the order in which a directory's files are tried.

To add one: a module with a subclass of `Tokenizer` that has `files_in` and `read`, and a line here.
"""

from __future__ import annotations

from cpm_lm.tokenizer.base import Tokenizer
from cpm_lm.tokenizer.cpm import CPMTokenizer
from cpm_lm.tokenizer.wordpiece import WordPieceTokenizer

__all__ = ["FAMILIES"]

FAMILIES: tuple[type[Tokenizer], ...] = (CPMTokenizer, WordPieceTokenizer)

Tokenizer.families = FAMILIES
