"""One call for continuations of a prompt: text and options checked, texts grown, results told.

Knows tokenizers and the sampling algorithm; does not know engines or sessions.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from cpm_lm.config import GPTConfig
from cpm_lm.decoding.protocol import Algorithm
from cpm_lm.decoding.rng import Independent
from cpm_lm.decoding.sampling import Limits, Sampled, sample
from cpm_lm.errors import CapacityError
from cpm_lm.generation.options import SamplingOptions
from cpm_lm.generation.prompt import prompt_ids
from cpm_lm.generation.stopping import StoppedText, normalized_stops
from cpm_lm.tokenizer import Tokenizer

__all__ = ["Call", "Sample"]

MIN_CAPACITY = 1024
"""Nodes that a session holds at least, where memory allows it, so that it serves the next call."""
SPLIT_WORD = (
    "the prompt ends where a word could go on, but its last word is taken for a whole one: "
    "end the prompt with punctuation or a newline, or with a whole word"
)


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One continuation of a prompt."""

    text: str
    """The continuation, cut before a stop string; without the prompt."""
    token_ids: tuple[int, ...]
    """The tokens drawn, without an end token; those of a stop string are still here."""
    logprob: float
    """Log-probability of all tokens drawn, an end token included, under the raw model:
    temperature 1, no filters; natural logarithm."""
    finish_reason: Literal["stop", "length"]
    """`stop`: an end token or a stop string; `length`: max_tokens or the context was reached."""
    index: int
    """Its number i; with the seed it determines the text, whatever n is."""
    seed: int
    """The seed of the call, chosen by it if none was given."""
    rows: int
    """Forward rows that the whole call computed for all its samples."""
    rows_unmerged: int
    """Forward rows that as many separate runs would have computed."""
    note: str = ""
    """What the caller may want to know about the prompt; mostly empty."""


class Call:
    """A call for continuations: everything checked, nothing computed yet."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        config: GPTConfig,
        prompt: str | Sequence[int],
        options: SamplingOptions,
        *,
        ending: tuple[str, ...] = (),
    ) -> None:
        """Check a call; `ending` are more stop strings, as they come out of the tokenizer."""
        self.ids = prompt_ids(tokenizer, config, prompt)
        self.options = options
        stops = normalized_stops(options.stop, tokenizer.as_generated)
        self._tokenizer, self._stops = tokenizer, (*stops, *ending)
        # A space that ends the prompt is there already.
        spaced = isinstance(prompt, str) and prompt[-1:].isspace()
        self._after = () if spaced else tuple(self.ids)
        self.texts = [self.new_text() for _ in range(options.n)]
        self._growing = list(range(options.n))
        # 48 bits survive every JSON reader.
        self.seed = int.from_bytes(os.urandom(6)) if options.seed is None else options.seed
        self.note = SPLIT_WORD if isinstance(prompt, str) and tokenizer.splits_word(prompt) else ""
        limits = Limits(
            max_tokens=options.max_tokens,
            n_positions=config.n_positions,
            end_ids=tokenizer.end_ids,
            slide=options.overflow == "slide",
        )
        self.longest = limits.longest(len(self.ids))
        """The most tokens of a continuation."""
        self.most_rows = limits.rows(len(self.ids), self.longest)
        """The rows that one continuation alone computes at the most."""
        self.capacity = self._capacity(config.node_bytes)
        """Nodes that the session must hold."""
        self.limits = replace(limits, capacity=self.capacity)

    def algorithm(self) -> Algorithm[Sampled]:
        """Return the generator that draws the samples."""
        return sample(
            self.ids,
            self.options.n,
            rules=self.options,
            draws=Independent(self.seed),
            limits=self.limits,
            watch=lambda i, token: self.texts[i].feed(token),
            finish=lambda i: self.texts[i].finish(),
        )

    def new_text(self) -> StoppedText:
        """Return the empty text of a continuation."""
        return StoppedText(self._tokenizer.decoder(self._after), self._stops)

    def tell(self, on_text: Callable[[int, str, bool], None]) -> None:
        """Pass on what has become certain of each text since the last time."""
        for i in self._growing:
            text = self.texts[i]
            if (fresh := text.take()) or text.finished:
                on_text(i, fresh, text.finished)
        self._growing = [i for i in self._growing if not self.texts[i].finished]

    def samples(self, sampled: Sampled) -> list[Sample]:
        """Return the samples in text."""
        result = []
        for i, continuation in enumerate(sampled.continuations):
            stopped = continuation.ended or self.texts[i].stopped
            result.append(
                Sample(
                    text=self.texts[i].text,
                    token_ids=continuation.tokens,
                    logprob=continuation.logprob,
                    finish_reason="stop" if stopped else "length",
                    index=i,
                    seed=self.seed,
                    rows=sampled.rows,
                    rows_unmerged=sampled.rows_unmerged,
                    note=self.note,
                )
            )
        return result

    def most_nodes(self) -> int:
        """Return how many nodes the call could use, if memory allowed it."""
        return len(self.ids) + self.options.n * (self.most_rows - len(self.ids))

    def _capacity(self, node_bytes: int) -> int:
        """Return room for all samples at once, within the memory allowed.

        Rounded to a power of two where possible, because engines may compile for each capacity.
        """
        alone = self.most_rows
        if (room := self.options.memory // node_bytes) < alone:
            raise CapacityError(
                f"memory is {self.options.memory} bytes, room for {room} tokens; one continuation "
                f"needs {alone * node_bytes} bytes for {alone}: allow more memory or fewer tokens"
            )
        rounded = max(MIN_CAPACITY, 1 << (self.most_nodes() - 1).bit_length())
        while rounded > room:
            rounded //= 2
        return rounded if rounded >= alone else room
