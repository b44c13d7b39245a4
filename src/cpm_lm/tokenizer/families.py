"""The families of vocabularies, in the order in which `Tokenizer.load` tries them.

To add a family, write a module with a subclass of `Tokenizer`, and add the class here.
"""

from __future__ import annotations

from cpm_lm.tokenizer.base import Tokenizer
from cpm_lm.tokenizer.cpm import CPMTokenizer
from cpm_lm.tokenizer.wordpiece import WordPieceTokenizer

__all__ = ["FAMILIES"]

FAMILIES: tuple[type[Tokenizer], ...] = (CPMTokenizer, WordPieceTokenizer)

Tokenizer.families = FAMILIES
