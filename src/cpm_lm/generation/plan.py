"""A prompt and what bounds its continuations: what completions and votes have in common.

Knows tokenizers and options; does not know how continuations are drawn or used.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace

from cpm_lm.config import GPTConfig
from cpm_lm.decoding.sampling import Limits
from cpm_lm.errors import CapacityError
from cpm_lm.generation.options import SamplingOptions
from cpm_lm.generation.prompt import prompt_ids
from cpm_lm.generation.stopping import StoppedText, normalized_stops
from cpm_lm.tokenizer import Tokenizer

__all__ = ["MIN_CAPACITY", "SamplingPlan"]

MIN_CAPACITY = 1024
"""Nodes that a session holds at least, where memory allows it, so that it serves the next call."""
SPLIT_WORD = (
    "the prompt ends where a word could go on, but its last word is taken for a whole one: "
    "end the prompt with punctuation or a newline, or with a whole word"
)


class SamplingPlan:
    """A prompt's ids, the stop strings, the seed and the limits, all checked.

    Args:
        tokenizer: of the model.
        config: its shape.
        prompt: text, or ids that are taken as they are.
        options: of the call.
        stops: more stop strings, as they come out of the tokenizer.

    Raises:
        RequestError: the prompt or a stop string is wrong.
        CapacityError: the memory allowed does not hold one continuation.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        config: GPTConfig,
        prompt: str | Sequence[int],
        options: SamplingOptions,
        *,
        stops: tuple[str, ...] = (),
    ) -> None:
        self.ids = prompt_ids(tokenizer, config, prompt)
        self._tokenizer = tokenizer
        self._stops = (*normalized_stops(options.stop, tokenizer.as_generated), *stops)
        # A space that ends the prompt is there already.
        spaced = isinstance(prompt, str) and prompt[-1:].isspace()
        self._after = () if spaced else tuple(self.ids)
        # 48 bits survive every JSON reader.
        self.seed = int.from_bytes(os.urandom(6)) if options.seed is None else options.seed
        split = isinstance(prompt, str) and tokenizer.splits_word(prompt)
        self.note = "; ".join(filter(None, [tokenizer.note, SPLIT_WORD if split else ""]))
        self.limits = Limits(
            max_tokens=options.max_tokens,
            n_positions=config.n_positions,
            end_ids=tokenizer.end_ids,
            slide=options.overflow == "slide",
        )
        self.longest = self.limits.longest(len(self.ids))
        """The most tokens of a continuation."""
        self.most_rows = self.limits.rows(len(self.ids), self.longest)
        """The rows that one continuation alone computes at the most."""
        self._memory, self._node_bytes = options.memory, config.node_bytes
        self._check_memory()

    def new_text(self, *, skip: int = 0) -> StoppedText:
        """Return the empty text of a continuation; see `StoppedText` for `skip`."""
        return StoppedText(self._tokenizer.decoder(self._after), self._stops, skip=skip)

    def node_budget(self, most_nodes: int) -> int:
        """Return how many nodes to hold for work that could use so many, within the memory.

        Rounded to a power of two where possible, because engines may compile for each capacity.
        """
        room = self._memory // self._node_bytes
        rounded = max(MIN_CAPACITY, 1 << (most_nodes - 1).bit_length())
        while rounded > room:
            rounded //= 2
        return rounded if rounded >= self.most_rows else room

    def within(self, node_budget: int) -> Limits:
        """Return the limits with that many nodes."""
        return replace(self.limits, capacity=node_budget)

    def _check_memory(self) -> None:
        room, alone = self._memory // self._node_bytes, self.most_rows
        if room < alone:
            raise CapacityError(
                f"memory is {self._memory} bytes, room for {room} tokens; one continuation needs "
                f"{alone * self._node_bytes} bytes for {alone}: allow more memory or fewer tokens"
            )
