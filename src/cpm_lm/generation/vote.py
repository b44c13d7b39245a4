"""The result of a vote, and how it is built from the samples or from an exact search.

Knows decisions (the answer of each text), counts and bounds; does not know how texts are drawn:
`vote_request` does.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast

from cpm_lm.decoding.best_first import NO_ANSWER, Found
from cpm_lm.decoding.sampling import Sampled
from cpm_lm.display import html_table, on_a_line, quoted
from cpm_lm.generation.options import VotingOptions
from cpm_lm.generation.path_filters import filters_on
from cpm_lm.generation.plan import SamplingPlan
from cpm_lm.generation.tally import AnswerShare, posterior_lead, tally
from cpm_lm.languages import later, tr

__all__ = [
    "CUT_OFF",
    "Vote",
    "VoteProgress",
    "bounds",
    "drawn_vote",
    "exact_vote",
    "leads",
    "tally_decisions",
]

CUT_OFF = object()
"""The decision for a text that the length limit cut off."""

WILSON = later("95% intervals (Wilson)")
BOUNDS = later("bounds of the exact probability")
NO_INTERVALS = {
    "stratified": later(
        "no intervals: stratified samples are not independent, and their shares are "
        "less noisy than the formula for independent ones says"
    ),
    "sample": later("no intervals: stopping early biases the leader's share"),
}


@dataclass(frozen=True, kw_only=True)
class Vote:
    """The answers that the continuations of a prompt give.

    The shares of the tally, `no_answer`, `cut_off` and `unexplored` sum to one.
    """

    winner: str | None
    """The most frequent answer; ties by the first drawn. None if no text gave an answer."""
    tally: tuple[AnswerShare, ...]
    """The answers, the winner first."""
    certified: bool
    """Whether it is proven that no other answer is as probable as the winner, for this model, this
    distribution and this length limit; only an exact vote can prove it."""
    cut_off: float
    """The share of texts that the length limit cut off before their answer was known."""
    no_answer: float
    """The share of texts that ended without an answer: empty, or without a match of the answer's
    pattern."""
    unexplored: float
    """The probability of the texts that an exact vote did not reach; 0 where texts are drawn."""
    reason: Literal["drawn", "confident", "proven", "explored", "budget"]
    """Why the vote ended. `drawn`: all n texts were drawn; `confident`: the leader leads with the
    probability asked for; `proven`: the winner is proven; `explored`: less is unexplored than the
    tolerance, but the leading answers are too close; `budget`: the budget of rows, or the memory,
    is spent."""
    intervals: str
    """What `low` and `high` of the tally are, or why there are none."""
    drawn: int
    """The number of texts drawn; 0 in an exact vote."""
    rows: int
    """Forward rows computed."""
    rows_unmerged: int | None
    """Forward rows that n separate runs would have computed; None in an exact vote."""
    seconds: float
    """The duration."""
    seed: int | None
    """The seed of the draws; None in an exact vote."""
    method: str
    """sample, stratified or exact."""
    filters: tuple[str, ...] = ()
    """The options that change the model's own distribution, with their values; empty if the shares
    are about the model itself."""
    note: str
    """Advice about the prompt or the options, a line each; usually empty."""

    def __repr__(self) -> str:
        """Return the winner, the answers and their shares on one line."""
        return on_a_line(
            f"Vote {quoted(self.winner)}" if self.winner is not None else "Vote None",
            [self._about(), *(f"{quoted(row.answer)} {row.percent}" for row in self.tally)],
        )

    def _repr_html_(self) -> str:
        """Return the tally with bars, for a notebook."""
        missing = ("no answer", self.no_answer), ("cut off", self.cut_off)
        rest = [*missing, ("unexplored", self.unexplored)]
        rows = [row._row() for row in self.tally]
        rows += [(f"({name})", share, f"{share:.1%}") for name, share in rest if share]
        return html_table(rows, caption=f"{self._about()}; {self.intervals}")

    def _about(self) -> str:
        texts = f"{self.drawn} texts" if self.drawn else f"{self.rows} rows"
        return f"{self.reason}, {texts}, {self.seconds:.1f} s"


@dataclass(frozen=True, kw_only=True)
class VoteProgress:
    """The present state of a running vote."""

    tally: tuple[AnswerShare, ...]
    """The answers so far, without intervals."""
    decided: float
    """The share of samples, or of probability, that is decided."""


def tally_decisions(
    decisions: Sequence[object], *, independent: bool = False
) -> tuple[AnswerShare, ...]:
    """Return the tally of decisions: an answer, CUT_OFF or NO_ANSWER for each text."""
    answers = [decision if isinstance(decision, str) else None for decision in decisions]
    return tuple(tally(answers, independent=independent))


def bounds(found: Found, options: VotingOptions) -> tuple[AnswerShare, ...]:
    """Return the tally of an exact search: the answers with the bounds of their probabilities.

    Of choices, all are there, with their share of the probability of all choices.
    """
    masses = {answer: mass for answer, mass in found.masses.items() if isinstance(answer, str)}
    masses |= {name: 0.0 for name in options.choices or () if name not in masses}
    total = sum(masses.values())
    return tuple(
        AnswerShare(
            answer=answer,
            share=mass,
            low=mass,
            high=min(1.0, mass + found.unexplored),
            among_choices=mass / total if options.choices and total else None,
        )
        for answer, mass in masses.items()
    )


def leads(decisions: Sequence[object], confidence: float) -> bool:
    """Return whether the leader is the likeliest answer with more than this probability."""
    first, second = (*(row.count or 0 for row in tally_decisions(decisions)[:2]), 0, 0)[:2]
    return posterior_lead(first, second) > confidence


def drawn_vote(
    decisions: Sequence[object],
    sampled: Sampled,
    plan: SamplingPlan,
    options: VotingOptions,
    *,
    advice: str,
    started: float,
) -> Vote:
    """Return the result of a vote over samples.

    Args:
        decisions: an answer, CUT_OFF or NO_ANSWER for each sample, in order.
        sampled: the samples.
        plan: the plan of the call.
        options: the options of the call.
        advice: a note about the texts, or "".
        started: when it began, by `time.perf_counter`.
    """
    confidence, method = options.confidence, options.method
    independent = method == "sample" and confidence is None
    answers = tally_decisions(decisions, independent=independent)
    cut_off, no_answer = (
        decisions.count(missing) / len(decisions) for missing in (CUT_OFF, NO_ANSWER)
    )
    banned = sum(each.banned for each in sampled.continuations) / len(decisions)
    confident = confidence is not None and leads(decisions, confidence)
    return Vote(
        winner=answers[0].answer if answers else None,
        tally=answers,
        certified=False,
        cut_off=cut_off,
        no_answer=no_answer,
        unexplored=0.0,
        reason="confident" if confident else "drawn",
        intervals=tr(WILSON if independent else NO_INTERVALS[method]),
        drawn=len(decisions),
        rows=sampled.rows,
        rows_unmerged=sampled.rows_unmerged,
        seconds=time.perf_counter() - started,  # the stopping rule's own time included
        seed=plan.seed,
        method=method,
        filters=filters_on(options),
        note=_note(cut_off, no_answer, banned, plan, options, advice),
    )


def exact_vote(found: Found, plan: SamplingPlan, options: VotingOptions, *, started: float) -> Vote:
    """Return the result of an exact vote.

    Args:
        found: the final state of the search.
        plan: the plan of the call.
        options: the options of the call.
        started: when it began, by `time.perf_counter`.
    """
    answers = bounds(found, options)
    no_answer = found.masses.get(None, 0.0)
    return Vote(
        winner=answers[0].answer if answers and answers[0].share else None,
        tally=answers,
        certified=found.reason == "proven",
        cut_off=found.cut_off,
        no_answer=no_answer,
        unexplored=found.unexplored,
        reason=cast("Literal['proven', 'explored', 'budget']", found.reason),
        intervals=tr(BOUNDS),
        drawn=0,
        rows=found.rows,
        rows_unmerged=None,
        seconds=time.perf_counter() - started,
        seed=None,
        method="exact",
        filters=filters_on(options),
        note=_note(found.cut_off, no_answer, found.banned, plan, options),
    )


def _note(
    cut_off: float,
    no_answer: float,
    banned: float,
    plan: SamplingPlan,
    options: VotingOptions,
    advice: str = "",
) -> str:
    """Return advice if most texts gave no answer, or about the prompt, or the bans."""
    notes = [note for note in (plan.note, advice) if note]
    if banned:
        notes.append(
            tr(
                "{banned:.1%} of the texts ended early, because the bans left no token to draw",
                banned=banned,
            )
        )
    if cut_off > 0.5 and not advice:
        notes.append(
            tr(
                "{cut_off:.0%} of the texts were cut off after {longest} tokens, before "
                "their answer was known: allow more tokens (max_tokens), or say where an "
                "answer ends (stop) or what it is (answer)",
                cut_off=cut_off,
                longest=plan.longest,
            )
        )
    if no_answer > 0.5 and options.answer is None:
        notes.append(
            tr(
                "{no_answer:.0%} of the texts were empty up to the end of their first "
                "line: end the prompt where an answer begins, not at the end of a line "
                "that is complete",
                no_answer=no_answer,
            )
        )
    elif no_answer > 0.5:
        notes.append(
            tr(
                "{no_answer:.0%} of the texts ended without a match of the answer's "
                "pattern {answer!r}: change the pattern or the prompt",
                no_answer=no_answer,
                answer=options.answer,
            )
        )
    return "\n".join(notes)
