"""Ask a model one batch of questions: score candidates in one tree, or generate texts.

Knows a model's requests; does not know files.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from cpm_lm.choices import Method
from cpm_lm.evaluation.questions import Question
from cpm_lm.evaluation.result import Outcome
from cpm_lm.evaluation.statistics import exact_match, f1
from cpm_lm.evaluation.task import NORMALIZATIONS, Protocol, Task
from cpm_lm.generation.scoring import Query, Score, ScoreRequest
from cpm_lm.model import Model

__all__ = ["ask_choices", "ask_text"]


def ask_choices(
    model: Model, task: Task, questions: Sequence[Question], boundary: str
) -> tuple[list[Outcome], int]:
    """Return the outcomes of questions with candidates, and the rows computed.

    By each normalization the best candidate is the one of the highest score. Where n candidates
    tie, each counts as 1/n of the answer: in some files the first one is always right.
    """
    queries = [
        Query(prompt=candidate.prompt, continuations=[candidate.continuation])
        for question in questions
        for candidate in question.candidates
    ]
    request = ScoreRequest(model.tokenizer, model.engine.config, queries, boundary=boundary)
    found = model.run(request)
    scores = [score for (score,) in found.scores]
    outcomes, at = [], 0
    for question in questions:
        own = scores[at : at + len(question.candidates)]
        at += len(own)
        best = {name: _best(own, name) for name in NORMALIZATIONS}
        right = question.right
        outcomes.append(
            Outcome(
                values={name: (right in tied) / len(tied) for name, tied in best.items()},
                chance=1 / len(own),
                group=question.group,
                cut=question.cut,
                answer=question.candidates[best[task.normalization][0]].label,
            )
        )
    return outcomes, found.rows


def _best(scores: Sequence[Score], name: str) -> list[int]:
    """Return the indices of the highest score by a normalization: more than one if they tie."""
    attribute = "logprob" if name == "sum" else name
    values = [getattr(score, attribute) for score in scores]
    if None in values:  # no token that a text starts with: pmi is that of the sums
        values = [score.logprob for score in scores]
    return [i for i, value in enumerate(values) if value == max(values)]


def ask_text(
    model: Model, task: Task, protocol: Protocol, question: Question, seed: int
) -> tuple[Outcome, int]:
    """Return the outcome of a question that is answered by a text, and the rows computed."""
    if protocol.method == "greedy":
        vote = model.vote(
            question.prompt,
            n=1,
            temperature=0,
            max_tokens=task.max_tokens,
            answer=task.extract or None,
            seed=seed,
        )
    else:
        vote = model.vote(
            question.prompt,
            n=protocol.n,
            method=cast(Method, protocol.method),
            max_tokens=task.max_tokens,
            answer=task.extract or None,
            seed=seed,
        )
    text = vote.winner or ""
    values = {
        "exact_match": exact_match(text, question.answers),
        "f1": f1(text, question.answers),
    }
    outcome = Outcome(
        values=values, chance=0.0, group=question.group, cut=question.cut, answer=text
    )
    return outcome, vote.rows
