"""Text to token ids and back, exactly as a model was trained: one module for each family.

Knows pieces and ids; does not know models, prompts or sampling. What marks a word, a space or a
line end inside a vocabulary stays in here: callers see text and ids.
"""

import cpm_lm.tokenizer.families  # noqa: F401  (Tokenizer.load knows them from here on)
from cpm_lm.tokenizer.base import Decoder, Tokenizer

__all__ = ["Decoder", "Tokenizer"]
