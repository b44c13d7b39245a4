"""Filters of a path over a tree of samples: merged samples draw what separate ones draw."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from cpm_lm.decoding.adaptive import sample_until
from cpm_lm.decoding.best_first import best_first
from cpm_lm.decoding.limits import Limits
from cpm_lm.decoding.penalties import PathFilters
from cpm_lm.decoding.protocol import Extend
from cpm_lm.decoding.rng import Independent, Stratified, UniformSource, uniform
from cpm_lm.decoding.sampling import Sampled, sample
from cpm_lm.decoding.scheduler import run
from cpm_lm.distributions.rules import Rules
from cpm_lm.engines.wants import Draws
from tests.support.fakes import FakeEngine, hashed, log, random_engine

PROMPT = [3, 1, 2]
RULES = Rules(temperature=0.9, top_p=0.97)
END = 0
STRONG = PathFilters(
    repetition_penalty=1.6,
    presence_penalty=0.4,
    frequency_penalty=0.7,
    no_repeat_ngram=3,
    bans=((4,), (1, 5)),
    bias={2: 1.0, 5: -0.5},
    min_tokens=3,
    end_ids=(END,),
)


def draw(
    engine: Any,
    n: int,
    *,
    filters: PathFilters = STRONG,
    source: UniformSource | None = None,
    max_tokens: int = 9,
    max_step: int = 256,
    top: int = 0,
    **limits: Any,
) -> Sampled:
    session = engine.session(limits.get("capacity", 1 << 13))
    positions = engine.config.n_positions
    bounds = Limits(max_tokens=max_tokens, n_positions=positions, end_ids={END}, **limits)
    algorithm = sample(
        PROMPT,
        n,
        rules=RULES,
        source=source or Independent(7),
        limits=bounds,
        filters=filters,
        top=top,
    )
    result = run(session, algorithm, max_tokens=max_step)
    assert session.live == 0
    return result


def masses(row: Any, context: list[int], drawn: list[int], count: int, f: PathFilters) -> Any:
    """The distribution after a context, written out: bias, bans, penalties, rules."""
    x = np.array(row, np.float32).astype(np.float64)
    for token, bias in f.bias.items():
        x[token] += bias
    n = f.no_repeat_ngram
    for token in range(len(x)):
        path = [*context, token]
        grams = [tuple(context[i : i + n]) for i in range(len(context) - n + 1)] if n else []
        repeated = bool(n) and tuple(path[-n:]) in grams
        ban = any(tuple(path[-len(b) :]) == b for b in f.bans)
        if repeated or ban or (token in f.end_ids and count < f.min_tokens):
            x[token] = -np.inf
    counts = Counter(drawn)
    for token in {*context, *drawn}:
        x[token] = (
            x[token] / f.repetition_penalty if x[token] > 0 else x[token] * (f.repetition_penalty)
        )
        x[token] -= f.presence_penalty * (counts[token] > 0) + f.frequency_penalty * counts[token]
    if not np.isfinite(x).any():
        return None
    weights = np.exp((x - x.max()) / RULES.temperature)
    order = np.argsort(-weights, kind="stable")
    share = np.cumsum(weights[order]) / weights.sum()
    weights[order[int((share < RULES.top_p).sum()) + 1 :]] = 0
    return weights / weights.sum()


def alone(
    engine: FakeEngine, i: int, max_tokens: int, filters: PathFilters = STRONG, slide: bool = False
) -> tuple[int, ...]:
    """Sample i by itself, by the definition; a full context loses its older half."""
    positions = engine.config.n_positions
    context, tokens = list(PROMPT), []
    for t in range(max_tokens):
        if len(context) > positions:  # the last token of a full context is drawn, not computed
            assert slide
            limits = Limits(max_tokens=1, n_positions=positions, end_ids=(), slide=True)
            context = [*context[:-1][-limits.kept :], context[-1]]
        drawn = context[len(context) - min(t, len(context)) :]
        p = masses(engine.next_logits(tuple(context)), context, drawn, t, filters)
        if p is None:
            break
        edges = np.cumsum(p)
        u = uniform(7, np.array([i]), np.array([t]))[0]
        token = int(np.searchsorted(edges / edges[-1], u, "right"))
        if token == END:
            break
        context.append(token)
        tokens.append(token)
    return tuple(tokens)


def texts(sampled: Sampled) -> list[tuple[int, ...]]:
    return [c.tokens for c in sampled.continuations]


def test_merged_samples_equal_separate_ones_by_the_definition() -> None:
    engine = FakeEngine(hashed(6, 1.5), 6)
    together = draw(engine, 60)
    assert texts(together) == [alone(engine, i, 9) for i in range(60)]
    assert together.rows < together.rows_unmerged, "some are merged"


def test_after_a_slide_the_filters_look_at_what_is_in_the_context() -> None:
    engine = FakeEngine(hashed(6, 1.5), 6, n_positions=7)
    filters = replace(STRONG, min_tokens=17)
    together = draw(engine, 30, filters=filters, max_tokens=24, slide=True)
    assert texts(together) == [alone(engine, i, 24, filters, slide=True) for i in range(30)]
    assert max(map(len, texts(together))) > 15, "some slide several times"


def test_samples_that_slid_at_different_times_are_not_merged() -> None:
    # One token: every context of a length is the same, but the counts of what was drawn differ.
    engine = FakeEngine(lambda path: log(0.5, 0.5, 0, 0), 4, n_positions=5)
    filters = PathFilters(presence_penalty=2, min_tokens=9, end_ids=(END,))
    sampled = draw(engine, 30, filters=filters, max_tokens=14, slide=True)
    assert min(map(len, texts(sampled))) >= 9


@pytest.mark.parametrize("engine", [FakeEngine(hashed(6, 1.5), 6), random_engine()])
def test_a_sample_does_not_depend_on_n_nor_on_memory_nor_on_slices(engine: Any) -> None:
    whole = texts(draw(engine, 40, max_tokens=5))
    for n in (1, 9):
        assert texts(draw(engine, n, max_tokens=5)) == whole[:n]
    for bounds in ({"capacity": 8}, {"capacity": 30, "width": 9}, {"max_step": 5}):
        assert texts(draw(engine, 40, max_tokens=5, **bounds)) == whole  # type: ignore[arg-type]


def test_rounds_equal_one_large_round() -> None:
    """A round begins at the last token of the prompt, but its filters see the whole prompt."""
    engine = FakeEngine(hashed(6, 1.5), 6)
    algorithm = sample_until(
        PROMPT,
        50,
        rules=RULES,
        seed=7,
        limits=Limits(max_tokens=9, n_positions=64, end_ids={END}),
        filters=STRONG,
        enough=lambda: False,
        on_token=lambda _i, _token: False,
        on_end=lambda _i: None,
    )
    assert texts(run(engine.session(4096), algorithm)) == texts(draw(engine, 50))


def test_stratified_samples_follow_the_filtered_distribution() -> None:
    engine = FakeEngine(hashed(6, 1.5), 6)
    n = 1500
    sampled = draw(engine, n, source=Stratified(5, n), max_tokens=3)
    exact = enumerated(engine, 3)
    counts = Counter(texts(sampled))
    for path, mass in exact.items():
        # A text is an interval, or a few: each of its ends moves its count by less than one.
        assert abs(counts[path] - n * mass) < 10


def enumerated(engine: FakeEngine, longest: int) -> dict[tuple[int, ...], float]:
    """The probability of each text of at most so many tokens, by the definition."""
    found: dict[tuple[int, ...], float] = {}

    def walk(path: tuple[int, ...], mass: float) -> None:
        if len(path) == longest:
            found[path] = found.get(path, 0) + mass
            return
        context = [*PROMPT, *path]
        p = masses(engine.next_logits(tuple(context)), context, list(path), len(path), STRONG)
        if p is None:
            found[path] = found.get(path, 0) + mass
            return
        for token, share in enumerate(p.tolist()):
            if share and token == END:
                found[path] = found.get(path, 0) + mass * share
            elif share:
                walk((*path, token), mass * share)

    walk((), 1.0)
    return found


def test_the_exact_search_has_the_filtered_distribution() -> None:
    engine = FakeEngine(hashed(6, 1.5), 6)
    algorithm = best_first(
        PROMPT,
        rules=RULES,
        limits=Limits(max_tokens=4, n_positions=64, end_ids={END}),
        answer_of=lambda ids, ended: ids if ended or len(ids) == 4 else None,
        rows=5000,
        filters=STRONG,
        tolerance=1e-9,
    )
    found = run(engine.session(8192), algorithm)
    exact = enumerated(engine, 4)
    assert found.reason in ("explored", "proven")
    for path, mass in found.masses.items():
        assert mass <= exact[path] + 1e-9  # type: ignore[index]
    best = max(exact, key=exact.__getitem__)
    assert next(iter(found.masses)) == best
    assert found.masses[best] == pytest.approx(exact[best], abs=found.unexplored + 1e-9)


def test_a_text_with_no_token_left_ends_and_says_so() -> None:
    engine = FakeEngine(hashed(4, 1.0), 4)
    filters = PathFilters(no_repeat_ngram=1, bans=((END,),))
    sampled = draw(engine, 8, filters=replace(filters, no_repeat_ngram=2), max_tokens=30)
    assert all(c.banned and c.ended for c in sampled.continuations)
    assert max(len(c.tokens) for c in sampled.continuations) <= 9, "there are no more pairs"
    algorithm = best_first(
        PROMPT,
        rules=RULES,
        limits=Limits(max_tokens=9, n_positions=64, end_ids={END}),
        answer_of=lambda ids, ended: ids if ended else None,
        rows=500,
        filters=filters,
    )
    found = run(engine.session(1024), algorithm)
    assert found.banned == pytest.approx(1), "all tokens are in the prompt"
    assert found.masses == {(): pytest.approx(1)}


def test_without_filters_no_edit_is_made() -> None:
    engine = FakeEngine(hashed(6, 1.5), 6)
    session = engine.session(1024)
    limits = Limits(max_tokens=4, n_positions=64, end_ids={END})
    algorithm = sample(
        PROMPT, 8, rules=RULES, source=Independent(7), limits=limits, filters=PathFilters()
    )
    seen: list[Extend] = []

    def watched() -> Any:
        request = next(algorithm)
        while True:
            seen.append(request)
            try:
                request = algorithm.send((yield request))
            except StopIteration as stop:
                return stop.value

    run(session, watched())
    assert seen
    for request in seen:
        (want,) = request.wants
        assert isinstance(want, Draws)
        assert len(want.edits) == 0


def test_the_alternatives_of_a_token_are_those_of_the_model_itself() -> None:
    engine = FakeEngine(hashed(6, 1.5), 6)
    for sampled in (draw(engine, 12, top=3), draw(engine, 12, top=3, max_step=2)):
        for c in sampled.continuations:
            path = tuple(PROMPT)
            assert sum(step.logprob for step in c.steps) == pytest.approx(c.logprob)
            assert [step.token for step in c.steps if step.token != END] == list(c.tokens)
            for step in c.steps:
                row = np.array(engine.next_logits(path), np.float32).astype(np.float64)
                logprobs = row - np.log(np.exp(row).sum())
                assert step.top_ids.tolist() == np.argsort(-row, kind="stable")[:3].tolist()
                np.testing.assert_allclose(step.top_logprobs, logprobs[step.top_ids], atol=1e-6)
                path = (*path, step.token)
