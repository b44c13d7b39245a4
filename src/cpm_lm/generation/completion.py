"""A request for continuations of a prompt.

Knows tokenizers and the sampling algorithm; does not know engines or sessions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from cpm_lm.config import GPTConfig
from cpm_lm.decoding.protocol import Algorithm
from cpm_lm.decoding.rng import Independent
from cpm_lm.decoding.sampling import Sampled, sample
from cpm_lm.generation.options import SamplingOptions
from cpm_lm.generation.plan import SamplingPlan
from cpm_lm.generation.request import GenerationRequest
from cpm_lm.tokenizer import Tokenizer

__all__ = ["CompletionRequest", "Sample", "TextDelta"]


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


@dataclass(frozen=True, kw_only=True)
class TextDelta:
    """The next part of one continuation's text."""

    index: int
    """The continuation's number."""
    text: str
    """What comes behind all earlier parts; empty only at the end."""
    finished: bool
    """Whether it is the last part."""


class CompletionRequest(GenerationRequest[TextDelta, list[Sample]]):
    """n continuations of a prompt.

    Raises:
        RequestError: an option or the prompt is wrong.
        CapacityError: the memory allowed does not hold one continuation.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        config: GPTConfig,
        prompt: str | Sequence[int],
        options: SamplingOptions,
    ) -> None:
        self._plan = plan = SamplingPlan(tokenizer, config, prompt, options)
        self._options = options
        alone = plan.most_rows - len(plan.ids)
        self.node_budget = plan.node_budget(len(plan.ids) + options.n * alone)
        self._sampled: Sampled | None = None
        self._given = [0] * options.n
        """Characters of each text that `poll` has given."""
        self._growing = list(range(options.n))
        """Texts whose end `poll` has not given."""
        self._restart()

    def algorithm(self) -> Algorithm[None]:
        """Return a new generator that draws the samples; see `GenerationRequest.algorithm`."""
        self._restart()
        plan = self._plan
        self._sampled = yield from sample(
            plan.ids,
            self._options.n,
            rules=self._options,
            source=Independent(plan.seed),
            limits=plan.within(self.node_budget),
            on_token=lambda i, token: self._texts[i].feed(token),
            on_end=lambda i: self._texts[i].finish(),
        )

    def poll(self) -> list[TextDelta]:
        """Return what has become certain of each text since the last time."""
        deltas = []
        for i in self._growing:
            text = self._texts[i]
            fresh = text.take()
            self._given[i] += len(fresh)
            if fresh or text.finished:
                deltas.append(TextDelta(index=i, text=fresh, finished=text.finished))
        self._growing = [i for i in self._growing if not self._texts[i].finished]
        return deltas

    def result(self) -> list[Sample]:
        """Return the samples in order."""
        assert self._sampled is not None, "the algorithm has not ended"
        result = []
        for i, continuation in enumerate(self._sampled.continuations):
            stopped = continuation.ended or self._texts[i].stopped
            result.append(
                Sample(
                    text=self._texts[i].text,
                    token_ids=continuation.tokens,
                    logprob=continuation.logprob,
                    finish_reason="stop" if stopped else "length",
                    index=i,
                    seed=self._plan.seed,
                    rows=self._sampled.rows,
                    rows_unmerged=self._sampled.rows_unmerged,
                    note=self._plan.note,
                )
            )
        return result

    def _restart(self) -> None:
        self._texts = [self._plan.new_text(skip=given) for given in self._given]
        self._sampled = None
