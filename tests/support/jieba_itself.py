"""jieba itself, the judge of our words, without its log and its file in the temporary directory."""

from __future__ import annotations

import warnings
from functools import cache
from typing import Any


@cache
def jieba_itself() -> Any:
    """A jieba.Tokenizer with its own dictionary, read by its own code; takes a second."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import jieba
    tokenizer = jieba.Tokenizer()
    tokenizer.FREQ, tokenizer.total = tokenizer.gen_pfdict(tokenizer.get_dict_file())
    tokenizer.initialized = True
    return tokenizer
