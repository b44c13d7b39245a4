"""A request for a vote over the continuations of a prompt: texts drawn or enumerated and counted.

Knows tokenizers, the algorithms and how answers are compared; does not know engines or sessions.
"""

from __future__ import annotations

import time
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Literal, cast

from cpm_lm.config import GPTConfig
from cpm_lm.decoding.adaptive import sample_until
from cpm_lm.decoding.best_first import NO_ANSWER, Found, best_first
from cpm_lm.decoding.protocol import Algorithm
from cpm_lm.decoding.rng import Independent, Stratified
from cpm_lm.decoding.sampling import Sampled, sample
from cpm_lm.generation.answers import Answers, normalized
from cpm_lm.generation.options import VotingOptions
from cpm_lm.generation.plan import SamplingPlan
from cpm_lm.generation.request import GenerationRequest
from cpm_lm.generation.stopping import StoppedText
from cpm_lm.generation.tally import AnswerShare, posterior_lead, tally
from cpm_lm.tokenizer import Tokenizer

__all__ = ["Vote", "VoteProgress", "VoteRequest"]

LINE_END = "\n"
"""What ends an answer in any case, besides an end token."""
CUT_OFF = object()
"""What stands for the answer of a text that the length limit cut off."""

WILSON = "95% intervals (Wilson)"
BOUNDS = "bounds of the exact probability"
NO_INTERVALS = {
    "stratified": "no intervals: stratified samples are not independent, and their shares are "
    "less noisy than the formula for independent ones says",
    "sample": "no intervals: the number of samples was not fixed but depended on the leader's "
    "luck, so that its share tends to be too large",
}


@dataclass(frozen=True, kw_only=True)
class Vote:
    """What the continuations of a prompt answer.

    The shares of the tally, `no_answer`, `cut_off` and `unexplored` sum to one.
    """

    winner: str | None
    """The most frequent answer, of equal ones the first drawn; None where there is no answer."""
    tally: tuple[AnswerShare, ...]
    """The answers, the winner first."""
    certified: bool
    """Whether it is proven that no other answer is as probable as the winner, for this model, this
    distribution and this length limit; only an exact vote can prove it."""
    cut_off: float
    """The share of texts that the length limit cut off before their answer was known."""
    no_answer: float
    """The share of texts that ended without an answer, as the pattern knows it."""
    unexplored: float
    """The probability that an exact vote has not looked at; 0 where texts are drawn."""
    reason: Literal["drawn", "confident", "proven", "explored", "budget"]
    """Why it ended: all n were drawn; the leader's lead was likely enough; the winner is proven; so
    little is unexplored that the rest cannot matter, but answers are too close; or the
    budget of rows, or the memory, was spent."""
    intervals: str
    """What `low` and `high` of the tally are, or why there are none."""
    drawn: int
    """How many texts were drawn; 0 in an exact vote."""
    rows: int
    """Forward rows computed."""
    rows_unmerged: int | None
    """Forward rows that as many separate runs would have computed; None in an exact vote."""
    seconds: float
    """How long it took."""
    seed: int | None
    """Of the draws; None in an exact vote."""
    method: str
    """sample, stratified or exact."""
    note: str
    """What the caller may want to change; mostly empty."""


@dataclass(frozen=True, kw_only=True)
class VoteProgress:
    """A vote under way."""

    tally: tuple[AnswerShare, ...]
    """The answers so far, without intervals."""
    decided: float
    """The share of samples, or of probability, that is decided."""


class VoteRequest(GenerationRequest[VoteProgress, Vote]):
    """A vote over the continuations of a prompt.

    Raises:
        RequestError: an option or the prompt is wrong.
        CapacityError: the memory allowed does not hold one text.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        config: GPTConfig,
        prompt: str | Sequence[int],
        options: VotingOptions,
    ) -> None:
        self._started = time.perf_counter()
        aliases = {normalized(form): name for form, name in options.aliases.items()}
        self._answers = Answers(pattern=options.answer, aliases=aliases)
        self._options = options
        self._plan = plan = SamplingPlan(tokenizer, config, prompt, options, stops=(LINE_END,))
        if options.method == "exact":
            most_nodes = max(self._row_budget(), plan.most_rows)
        else:
            most_nodes = len(plan.ids) + options.n * (plan.most_rows - len(plan.ids))
        self.node_budget = plan.node_budget(most_nodes)
        self._outcome: Sampled | Found | None = None
        self._told = -1.0
        """The share decided when `poll` last told it."""
        self._restart()

    def algorithm(self) -> Algorithm[None]:
        """Return a new generator that draws or enumerates the texts; see `GenerationRequest`."""
        self._restart()
        self._outcome = yield from self._texts_drawn()

    def poll(self) -> list[VoteProgress]:
        """Return the tally, if more is decided than the last time."""
        if self._found:
            decided = 1 - self._found.unexplored
        else:
            decided = len(self._in_order()) / self._options.n
        if decided <= self._told:
            return []
        self._told = decided
        answers = _bounds(self._found) if self._found else _counted(self._in_order())
        return [VoteProgress(tally=tuple(answers), decided=decided)]

    def result(self) -> Vote:
        """Return the vote."""
        assert self._outcome is not None, "the algorithm has not ended"
        if isinstance(self._outcome, Found):
            return self._exact_vote(self._outcome)
        return self._drawn_vote(self._outcome)

    def _texts_drawn(self) -> Algorithm[Sampled | Found]:
        options, plan = self._options, self._plan
        limits = plan.within(self.node_budget)
        if options.method == "exact":
            return best_first(
                plan.ids,
                rules=options,
                limits=limits,
                answer_of=self._answer_of,
                rows=self._row_budget(),
                on_found=self._on_found,
            )
        if options.confidence is not None:
            return sample_until(
                plan.ids,
                options.n,
                rules=options,
                seed=plan.seed,
                limits=limits,
                enough=self._enough,
                on_token=self._on_token,
                on_end=self._on_end,
            )
        stratified = options.method == "stratified"
        return sample(
            plan.ids,
            options.n,
            rules=options,
            source=Stratified(plan.seed, options.n) if stratified else Independent(plan.seed),
            limits=limits,
            on_token=self._on_token,
            on_end=self._on_end,
        )

    def _drawn_vote(self, sampled: Sampled) -> Vote:
        decided, method = self._in_order(), self._options.method
        stopped = self._options.confidence is not None
        independent = method == "sample" and not stopped
        answers = _counted(decided, independent=independent)
        cut_off, no_answer = (decided.count(sign) / len(decided) for sign in (CUT_OFF, NO_ANSWER))
        return Vote(
            winner=answers[0].answer if answers else None,
            tally=tuple(answers),
            certified=False,
            cut_off=cut_off,
            no_answer=no_answer,
            unexplored=0.0,
            reason="confident" if stopped and self._enough() else "drawn",
            intervals=WILSON if independent else NO_INTERVALS[method],
            drawn=len(decided),
            rows=sampled.rows,
            rows_unmerged=sampled.rows_unmerged,
            seconds=self._seconds(),  # after the reason, which may take some itself
            seed=self._plan.seed,
            method=method,
            note=self._note(cut_off, no_answer),
        )

    def _exact_vote(self, found: Found) -> Vote:
        answers = _bounds(found)
        no_answer = found.masses.get(None, 0.0)
        return Vote(
            winner=answers[0].answer if answers else None,
            tally=tuple(answers),
            certified=found.reason == "proven",
            cut_off=found.cut_off,
            no_answer=no_answer,
            unexplored=found.unexplored,
            reason=cast("Literal['proven', 'explored', 'budget']", found.reason),
            intervals=BOUNDS,
            drawn=0,
            rows=found.rows,
            rows_unmerged=None,
            seconds=self._seconds(),
            seed=None,
            method="exact",
            note=self._note(found.cut_off, no_answer),
        )

    def _seconds(self) -> float:
        return time.perf_counter() - self._started

    def _restart(self) -> None:
        n = self._options.n
        self._texts = [self._plan.new_text() for _ in range(n)]
        self._fed = [0] * n
        self._decided: list[object | None] = [None] * n
        self._found: Found | None = None
        self._outcome = None

    def _row_budget(self) -> int:
        """Return the most rows of an exact vote: by default, what n texts could need."""
        options = self._options
        if options.budget is not None:
            return options.budget
        return len(self._plan.ids) + options.n * options.max_tokens

    def _decision(self, text: StoppedText, ended: bool) -> Hashable | None:
        """Return a text's answer, or NO_ANSWER, or None while it may still change."""
        over = ended or text.stopped
        answer = self._answers.of(text.text, finished=over)
        return NO_ANSWER if answer is None and over else answer

    def _answer_of(self, ids: tuple[int, ...], ended: bool) -> Hashable | None:
        text = self._plan.new_text()
        for token in ids:
            text.feed(token)
        if ended:
            text.finish()
        return self._decision(text, ended)

    def _on_token(self, i: int, token: int) -> bool:
        """Take a sample's next token; return whether its answer is known."""
        self._fed[i] += 1
        self._texts[i].feed(token)
        self._decided[i] = self._decision(self._texts[i], ended=False)
        return self._decided[i] is not None

    def _on_end(self, i: int) -> None:
        """Note that no token will come for a sample."""
        self._texts[i].finish()
        if self._decided[i] is None:
            # An end token is not fed: a sample that was fed all it may have did not draw one.
            cut_off = self._fed[i] == self._plan.longest
            self._decided[i] = CUT_OFF if cut_off else self._decision(self._texts[i], ended=True)

    def _on_found(self, found: Found) -> None:
        self._found = found

    def _in_order(self) -> list[object]:
        """Return what is decided, by the samples' numbers."""
        return [decision for decision in self._decided if decision is not None]

    def _enough(self) -> bool:
        """Say whether the leader leads with the probability asked for."""
        first, second = (*(t.count or 0 for t in _counted(self._in_order())[:2]), 0, 0)[:2]
        return posterior_lead(first, second) > cast("float", self._options.confidence)

    def _note(self, cut_off: float, no_answer: float) -> str:
        """Return what to change, where there is something."""
        notes = [self._plan.note] if self._plan.note else []
        if cut_off > 0.5:
            notes.append(
                f"{cut_off:.0%} of the texts were cut off after {self._plan.longest} tokens, "
                "before their answer was known: allow more tokens (max_tokens), or say where an "
                "answer ends (stop) or what it is (answer)"
            )
        if no_answer > 0.5:
            notes.append(
                f"{no_answer:.0%} of the texts ended without anything that the answer's pattern "
                f"{self._options.answer!r} finds: change the pattern or the prompt"
            )
        return "; ".join(notes)


def _counted(decided: Sequence[object], *, independent: bool = False) -> list[AnswerShare]:
    answers = [answer if isinstance(answer, str) else None for answer in decided]
    return tally(answers, independent=independent)


def _bounds(found: Found) -> list[AnswerShare]:
    """Return the answers of a search with the bounds of their probabilities."""
    return [
        AnswerShare(
            answer=answer,
            share=mass,
            low=mass,
            high=min(1.0, mass + found.unexplored),
        )
        for answer, mass in found.masses.items()
        if isinstance(answer, str)
    ]
