"""The common part of completions and votes: the prompt's ids, stop strings, seed and limits.

Knows tokenizers and options; does not know how continuations are drawn or used.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from cpm_lm.config import GPTConfig
from cpm_lm.decoding.limits import Limits
from cpm_lm.decoding.protocol import Algorithm, Result
from cpm_lm.errors import CapacityError, RequestError
from cpm_lm.generation.path_filters import path_filters
from cpm_lm.generation.prompt import BACKSLASH_N, decoder_context, read_prompt
from cpm_lm.generation.stopping import StoppedText, normalized_stops
from cpm_lm.generation.text_options import TextOptions
from cpm_lm.generation.word_end import observing
from cpm_lm.languages import tr
from cpm_lm.tokenizer import Tokenizer

__all__ = ["MIN_CAPACITY", "SamplingPlan"]

MIN_CAPACITY = 1024
"""The minimum capacity of a session, if memory allows it, so that the next call can reuse it."""


class SamplingPlan:
    """A prompt's ids, the stop strings, the seed and the limits, all checked.

    Args:
        tokenizer: the model's tokenizer.
        config: the model's shape.
        prompt: text, or token ids that are used unchanged.
        options: the options of the call.
        stops: more stop strings, in the form that the tokenizer decodes.
        row_bytes: what the algorithm keeps for each row besides keys and values.

    Raises:
        RequestError: the prompt or a stop string is wrong.
        CapacityError: the memory allowed does not hold one continuation.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        config: GPTConfig,
        prompt: str | Sequence[int],
        options: TextOptions,
        *,
        stops: tuple[str, ...] = (),
        row_bytes: int = 0,
    ) -> None:
        slide = options.overflow == "slide"
        read = read_prompt(tokenizer, config, prompt, special=options.special, slide=slide)
        self.ids = read.ids
        stop = tuple(options.stop or ())
        _refuse_special(stop, tokenizer)
        self._tokenizer = tokenizer
        self._stops = (*normalized_stops(stop, tokenizer.as_generated), *stops)
        self.filters = path_filters(tokenizer, options, self._stops)
        """The filters that look at a path, in ids."""
        self._after = decoder_context(prompt, self.ids)
        # 48 bits, because many JSON readers store a number as float64, exact to 53 bits.
        self.seed = int.from_bytes(os.urandom(6)) if options.seed is None else options.seed
        self._word = read.word
        self._notes = (*read.notes, *_stop_notes(stop))
        self._found: list[str] = []
        """What the model itself said about the prompt."""
        self.limits = Limits(
            max_tokens=options.max_tokens,
            n_positions=config.n_positions,
            end_ids=tokenizer.end_ids,
            slide=slide,
        )
        self.longest = self.limits.longest(len(self.ids))
        """The maximum number of tokens of a continuation."""
        self.most_rows = self.limits.rows(len(self.ids), self.longest)
        """The maximum number of rows that one continuation alone computes."""
        self._memory, self._node_bytes = options.memory, config.node_bytes + row_bytes
        self._check_memory()

    @property
    def note(self) -> str:
        """What may not have been meant, a line each."""
        return "\n".join((*self._notes, *self._found))

    def observed(self, algorithm: Algorithm[Result]) -> Algorithm[Result]:
        """Return the algorithm that continues the prompt, which also looks at its last word."""
        self._found = []
        return observing(self._word, algorithm, self._found) if self._word else algorithm

    def end_at(self, stop: str, note: str) -> None:
        """Add a stop string that the options do not name, and a note that says so."""
        self._stops = (*self._stops, *normalized_stops(stop, self._tokenizer.as_generated))
        self._notes = (*self._notes, note)

    def new_text(self, *, skip: int = 0) -> StoppedText:
        """Return the empty text of a continuation; see `StoppedText` for `skip`."""
        return StoppedText(self._tokenizer.decoder(self._after), self._stops, skip=skip)

    def nodes_of(self, n: int) -> int:
        """Return the maximum number of nodes of n continuations, which share only the prompt."""
        return len(self.ids) + n * (self.most_rows - len(self.ids))

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
                "memory is {memory} bytes, room for {room} tokens; one continuation "
                "needs {needed} bytes for {alone}: allow more memory or fewer tokens",
                memory=self._memory,
                room=room,
                needed=alone * self._node_bytes,
                alone=alone,
            )


def _refuse_special(stop: Iterable[str], tokenizer: Tokenizer) -> None:
    """Refuse names of special tokens, which are never part of a text."""
    for text in stop:
        if text in tokenizer.special_ids:
            raise RequestError(
                "stop string {text!r} is the name of a special token, which never "
                "appears in a text; end tokens end a text by themselves: leave it out",
                text=text,
            )


def _stop_notes(stop: Iterable[str]) -> Iterator[str]:
    if any("\\n" in text for text in stop):
        yield tr(BACKSLASH_N, what=tr("a stop string"))
