"""Known errors in published configurations.

Knows configurations and tokenizers; does not know files. The configurations of published CPM
conversions have GPT-2's special ids (50256) or zeros: the tokenizer's ids are right. Some name the
wrong form of GELU.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from cpm_lm.checkpoints.known.heads import KNOWN_HEADS
from cpm_lm.config import GPTConfig
from cpm_lm.languages import tr
from cpm_lm.tokenizer import Tokenizer

__all__ = ["quirks", "special_ids"]

ROLES = ("bos_token_id", "eos_token_id", "pad_token_id")
CPM_VOCAB_SIZE = 30_000


def special_ids(tokenizer: Tokenizer | None) -> dict[str, int | None]:
    """Return the ids of begin, end and padding by Hugging Face's names.

    If the tokenizer adds no prefix, the begin id is the end id, as in GPT-2. An id is None without
    a tokenizer, or if the vocabulary has no such piece.
    """
    if tokenizer is None:
        return dict.fromkeys(ROLES)
    end = min(tokenizer.end_ids)
    begin = tokenizer.prefix_ids[0] if tokenizer.prefix_ids else end
    return dict(zip(ROLES, (begin, end, tokenizer.pad_id), strict=True))


def quirks(config: GPTConfig, ids: Mapping[str, Any], tokenizer: Tokenizer | None) -> Iterator[str]:
    """Yield one line for every known error in a configuration.

    Args:
        config: the model's configuration.
        ids: the special ids that the configuration states, by Hugging Face's names.
        tokenizer: the model's tokenizer, if there is one.
    """
    cpm_shaped = config.vocab_size == CPM_VOCAB_SIZE and config.n_embd in KNOWN_HEADS
    if cpm_shaped and config.activation_function == "gelu":
        yield (
            tr(
                "the configuration names the erf form of GELU ('gelu'), and it is used; "
                "CPM was trained with the tanh form ('gelu_new'): if these are CPM's "
                "weights, give a configuration with that form (--config)"
            )
        )
    correct = special_ids(tokenizer)
    named = {role: ids[role] for role in ROLES if ids.get(role) is not None}
    wrong = [
        f"{role} {value!a:.40}"
        + (tr(" (the tokenizer's: {correct})", correct=correct[role]) if tokenizer else "")
        for role, value in named.items()
        if (value != correct[role] if tokenizer else not _in_range(value, config.vocab_size))
    ]
    if wrong:
        instead = (
            tr("the tokenizer's are used")
            if tokenizer
            else tr("there is no tokenizer to correct them")
        )
        yield tr(
            "the configuration names wrong special ids: {wrong}; {instead}",
            wrong=", ".join(wrong),
            instead=instead,
        )


def _in_range(value: object, size: int) -> bool:
    return type(value) is int and 0 <= value < size
