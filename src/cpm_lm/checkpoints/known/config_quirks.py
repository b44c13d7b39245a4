"""What published configurations say wrongly, and what is right.

Knows configurations and tokenizers. The configurations of CPM's conversions carry GPT-2's own
special ids (50256) or zeros; the tokenizer knows better. Some say the wrong form of GELU.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from cpm_lm.checkpoints.known.heads import KNOWN_HEADS
from cpm_lm.config import GPTConfig
from cpm_lm.tokenizer import Tokenizer

__all__ = ["quirks", "special_ids"]

ROLES = ("bos_token_id", "eos_token_id", "pad_token_id")
CPM_PIECES = 30_000


def special_ids(tokenizer: Tokenizer | None) -> dict[str, int | None]:
    """Return the ids of begin, end and padding, under Hugging Face's names.

    Where nothing goes before a text, the end of the one before does, as in GPT-2. Without a
    tokenizer, or where it has no such piece, an id is None.
    """
    if tokenizer is None:
        return dict.fromkeys(ROLES)
    end = min(tokenizer.end_ids)
    begin = tokenizer.prefix_ids[0] if tokenizer.prefix_ids else end
    return dict(zip(ROLES, (begin, end, tokenizer.pad_id), strict=True))


def quirks(
    config: GPTConfig, said: Mapping[str, Any], tokenizer: Tokenizer | None
) -> Iterator[str]:
    """Yield a line for everything that a configuration says against what is known.

    Args:
        config: the model's shape.
        said: the special ids as the configuration says them, by Hugging Face's names.
        tokenizer: the model's own, if there is one.
    """
    cpm_shaped = config.vocab_size == CPM_PIECES and config.n_embd in KNOWN_HEADS
    if cpm_shaped and config.activation_function == "gelu":
        yield (
            "the configuration says the erf form of GELU ('gelu'), and it is used; CPM was "
            "trained with the tanh form ('gelu_new'): if these are CPM's weights, give a "
            "configuration that says so (--config)"
        )
    right = special_ids(tokenizer)
    named = {role: said[role] for role in ROLES if said.get(role) is not None}
    wrong = [
        f"{role} {value!a:.40}" + (f" (the tokenizer's: {right[role]})" if tokenizer else "")
        for role, value in named.items()
        if (value != right[role] if tokenizer else not _in_range(value, config.vocab_size))
    ]
    if wrong:
        instead = "the tokenizer's are used" if tokenizer else "no tokenizer is there to tell"
        yield f"the configuration names wrong special ids: {', '.join(wrong)}; {instead}"


def _in_range(value: object, size: int) -> bool:
    return type(value) is int and 0 <= value < size
