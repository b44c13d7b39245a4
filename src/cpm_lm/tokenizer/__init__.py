"""Tokenizers: text to token ids and back, as in each model's training; one module per family.

Knows pieces and ids; does not know models, prompts or sampling. Callers see text and ids only, not
a vocabulary's marks of words, spaces and newlines.
"""

import cpm_lm.tokenizer.families  # noqa: F401  (sets Tokenizer.families, which load needs)
from cpm_lm.tokenizer.base import Decoder, Tokenizer

__all__ = ["Decoder", "Tokenizer"]
