"""The common part of completions and votes: the prompt's ids, stop strings, seed and limits.

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
"""The minimum capacity of a session, if memory allows it, so that the next call can reuse it."""
SPLIT_WORD = (
    "the prompt may end within a word, but the tokenizer treats the last word as complete: "
    "end the prompt with punctuation or a newline, or with a whole word"
)


class SamplingPlan:
    """A prompt's ids, the stop strings, the seed and the limits, all checked.

    Args:
        tokenizer: the model's tokenizer.
        config: the model's shape.
        prompt: text, or token ids that are used unchanged.
        options: the options of the call.
        stops: more stop strings, in the form that the tokenizer decodes.

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
        # After a final space in the prompt, the decoder must not write one between the words.
        spaced = isinstance(prompt, str) and prompt[-1:].isspace()
        self._after = () if spaced else tuple(self.ids)
        # 48 bits, because many JSON readers store a number as float64, exact to 53 bits.
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
        """The maximum number of tokens of a continuation."""
        self.most_rows = self.limits.rows(len(self.ids), self.longest)
        """The maximum number of rows that one continuation alone computes."""
        self._memory, self._node_bytes = options.memory, config.node_bytes
        self._check_memory()

    def new_text(self, *, skip: int = 0) -> StoppedText:
        """Return the empty text of a continuation; see `StoppedText` for `skip`."""
        return StoppedText(self._tokenizer.decoder(self._after), self._stops, skip=skip)

    def node_budget(self, most_nodes: int) -> int:
        """Return the session capacity for work that uses at most `most_nodes`, within the memory.

        A power of two where possible, because engines may compile for each capacity.
        """
        room = self._memory // self._node_bytes
        rounded = max(MIN_CAPACITY, 1 << (most_nodes - 1).bit_length())
        while rounded > room:
            rounded //= 2
        return rounded if rounded >= self.most_rows else room

    def within(self, node_budget: int) -> Limits:
        """Return the limits with this capacity."""
        return replace(self.limits, capacity=node_budget)

    def _check_memory(self) -> None:
        room, alone = self._memory // self._node_bytes, self.most_rows
        if room < alone:
            raise CapacityError(
                f"memory is {self._memory} bytes, room for {room} tokens; one continuation needs "
                f"{alone * self._node_bytes} bytes for {alone}: allow more memory or fewer tokens"
            )
