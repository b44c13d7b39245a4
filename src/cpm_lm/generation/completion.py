"""A request for continuations of a prompt, and its result.

Knows tokenizers and the sampling algorithm; does not know engines or sessions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from cpm_lm.config import GPTConfig
from cpm_lm.decoding.protocol import Algorithm
from cpm_lm.decoding.rng import Independent
from cpm_lm.decoding.sampling import Sampled, Step, sample
from cpm_lm.display import ResultList, Row, on_a_line, quoted
from cpm_lm.distributions.checks import check_field
from cpm_lm.generation.options import SamplingOptions
from cpm_lm.generation.path_filters import banned_note
from cpm_lm.generation.plan import SamplingPlan
from cpm_lm.generation.request import GenerationRequest
from cpm_lm.tokenizer import Tokenizer

__all__ = ["CompletionRequest", "Sample", "TextDelta", "TokenLogprob", "TokenLogprobs"]


@dataclass(frozen=True, kw_only=True)
class TokenLogprob:
    """A token and its log-probability under the raw model: temperature 1, no filters."""

    token_id: int
    text: str
    """The token's text for display; the name of a special token."""
    logprob: float
    """Natural logarithm."""


@dataclass(frozen=True, kw_only=True)
class TokenLogprobs(TokenLogprob):
    """A token that was drawn, and the tokens that the model held likeliest there."""

    top: tuple[TokenLogprob, ...]
    """Likeliest first; ties by the lower id."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One continuation of a prompt."""

    text: str
    """The continuation, cut off before a stop string; with `echo`, after the prompt."""
    token_ids: tuple[int, ...]
    """The tokens drawn, without an end token; a stop string's tokens are included."""
    logprob: float
    """Log-probability of all tokens drawn, an end token included, under the raw model:
    temperature 1, no filters; natural logarithm."""
    finish_reason: Literal["stop", "length", "banned"]
    """`stop`: an end token or a stop string; `length`: max_tokens or the context was reached;
    `banned`: the bans left no token to draw."""
    index: int
    """The number i of the sample. On the native engine the seed and i determine the text, whatever
    n is; on the others about 1 text in 100 differs, see `decoding.sampling`."""
    seed: int
    """The seed of the call; random if none was given."""
    rows: int
    """Forward rows that the call computed for all samples."""
    rows_unmerged: int
    """Forward rows that n separate runs would have computed."""
    note: str = ""
    """Advice about the prompt, a line each; usually empty."""
    top_logprobs: tuple[TokenLogprobs, ...] = ()
    """With the option `top_logprobs`: one entry for each of `token_ids`, and one for the end token
    if one was drawn."""

    def __repr__(self) -> str:
        """Return the beginning of the text, and how it ended, on one line."""
        about = f"{len(self.token_ids)} tokens, logprob {self.logprob:.1f}, {self.finish_reason}"
        return on_a_line(f"Sample {self.index}", [quoted(self.text, 55), about])

    def _row(self) -> Row:
        about = f"{self.finish_reason}, {len(self.token_ids)} tokens, logprob {self.logprob:.1f}"
        return self.text, None, about


@dataclass(frozen=True, kw_only=True)
class TextDelta:
    """The next part of one continuation's text."""

    index: int
    """The number of the continuation."""
    text: str
    """The text that follows all earlier parts; empty only in the last part."""
    finished: bool
    """Whether this is the last part."""


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
        check_field(options, "top_logprobs", low=0, high=tokenizer.vocab_size, whole=True)
        self._plan = plan = SamplingPlan(tokenizer, config, prompt, options)
        self._options, self._tokenizer = options, tokenizer
        read = prompt if isinstance(prompt, str) else tokenizer.decode(plan.ids)
        self._echoed = read if options.echo else ""
        """What comes before each text."""
        self._begun = [False] * options.n
        """The texts of which `poll` has returned the first part."""
        self.node_budget = plan.node_budget(plan.nodes_of(options.n))
        self._sampled: Sampled | None = None
        self._polled = [0] * options.n
        """The number of characters of each text that `poll` has returned."""
        self._unfinished = list(range(options.n))
        """The texts of which `poll` has not returned the last part."""
        self._reset()

    def algorithm(self) -> Algorithm[None]:
        """Return a new generator that draws the samples; see `GenerationRequest.algorithm`."""
        self._reset()
        plan = self._plan
        drawing = sample(
            plan.ids,
            self._options.n,
            rules=self._options,
            source=Independent(plan.seed),
            limits=plan.within(self.node_budget),
            filters=plan.filters,
            top=self._options.top_logprobs,
            on_token=lambda i, token: self._texts[i].feed(token),
            on_end=lambda i: self._texts[i].finish(),
        )
        self._sampled = yield from plan.observed(drawing)

    def poll(self) -> list[TextDelta]:
        """Return the part of each text that has become certain since the last call."""
        deltas = []
        for i in self._unfinished:
            text = self._texts[i]
            new = text.take()
            self._polled[i] += len(new)
            if not self._begun[i] and (new or text.finished or self._echoed):
                self._begun[i], new = True, self._echoed + new
            if new or text.finished:
                deltas.append(TextDelta(index=i, text=new, finished=text.finished))
        self._unfinished = [i for i in self._unfinished if not self._texts[i].finished]
        return deltas

    def result(self) -> list[Sample]:
        """Return the samples in order."""
        assert self._sampled is not None, "the algorithm has not ended"
        result = []
        banned = sum(each.banned for each in self._sampled.continuations)
        note = "; ".join(filter(None, (self._plan.note, banned_note(banned, self._options.n))))
        for i, continuation in enumerate(self._sampled.continuations):
            stopped = continuation.ended or self._texts[i].stopped
            reason: Literal["stop", "length", "banned"] = "stop" if stopped else "length"
            result.append(
                Sample(
                    text=self._echoed + self._texts[i].text,
                    token_ids=continuation.tokens,
                    logprob=continuation.logprob,
                    finish_reason="banned" if continuation.banned else reason,
                    index=i,
                    seed=self._plan.seed,
                    rows=self._sampled.rows,
                    rows_unmerged=self._sampled.rows_unmerged,
                    note=note,
                    top_logprobs=tuple(map(self._logprobs, continuation.steps)),
                )
            )
        return ResultList(result)

    def _logprobs(self, step: Step) -> TokenLogprobs:
        top = zip(step.top_ids.tolist(), step.top_logprobs.tolist(), strict=True)
        piece = self._tokenizer.piece
        return TokenLogprobs(
            token_id=step.token,
            text=piece(step.token),
            logprob=step.logprob,
            top=tuple(
                TokenLogprob(token_id=token, text=piece(token), logprob=logprob)
                for token, logprob in top
            ),
        )

    def _reset(self) -> None:
        self._texts = [self._plan.new_text(skip=polled) for polled in self._polled]
        self._sampled = None
