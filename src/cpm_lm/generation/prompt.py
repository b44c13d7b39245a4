"""From a prompt to checked token ids.

Knows tokenizers and the length of the context; does not know what follows the prompt.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence

from cpm_lm.config import GPTConfig
from cpm_lm.errors import RequestError
from cpm_lm.tokenizer import Tokenizer

__all__ = ["prompt_ids"]


def prompt_ids(tokenizer: Tokenizer, config: GPTConfig, prompt: str | Sequence[int]) -> list[int]:
    """Return a prompt's token ids, after the tokenizer's prefix ids.

    Raises:
        RequestError: the prompt is empty, fills the context, or holds an id out of range.
    """
    if isinstance(prompt, str):
        ids = [*tokenizer.prefix_ids, *tokenizer.encode(prompt)]
    else:
        try:
            ids = [operator.index(i) for i in prompt]
        except TypeError:
            raise RequestError("the prompt holds something other than whole token ids") from None
    if not ids:
        raise RequestError(f"the prompt is empty: {prompt!r} has no tokens; give at least one")
    size, room = tokenizer.vocab_size, config.n_positions
    if bad := [i for i in ids if not 0 <= i < size]:
        raise RequestError(f"token id {bad[0]} in the prompt; expected 0 to {size - 1}")
    if len(ids) >= room:
        raise RequestError(
            f"the prompt has {len(ids)} tokens; the model's context of {room} "
            f"leaves room for at most {room - 1}: shorten it"
        )
    return ids
