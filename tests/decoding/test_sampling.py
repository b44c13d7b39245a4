from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest

from cpm_lm.decoding.rng import Independent, Stratified, UniformSource, uniform
from cpm_lm.decoding.sampling import Limits, Sampled, sample
from cpm_lm.decoding.scheduler import run
from cpm_lm.distributions.draw import distributions, log_partition
from cpm_lm.distributions.rules import Rules
from cpm_lm.engines.base import Engine, Session
from cpm_lm.errors import CapacityError
from tests.support.fakes import FakeEngine, FakeSession, hashed, log, random_engine

PROMPT = [3, 1, 2]
OPEN = Rules(temperature=1.0, top_p=1.0)


def draw(
    engine: Engine,
    n: int,
    *,
    source: UniformSource | None = None,
    prompt: list[int] = PROMPT,
    rules: Rules = OPEN,
    seed: int = 7,
    max_tokens: int = 8,
    session: Session | None = None,
    max_step: int = 256,
    on_token: Any = None,
    on_end: Any = None,
    **limits: Any,
) -> Sampled:
    session = session or engine.session(limits.get("capacity", 1 << 14))
    limits = {"end_ids": frozenset({0}), **limits}
    bounds = Limits(max_tokens=max_tokens, n_positions=engine.config.n_positions, **limits)
    algorithm = sample(
        prompt,
        n,
        rules=rules,
        source=source or Independent(seed),
        limits=bounds,
        on_token=on_token,
        on_end=on_end,
    )
    result = run(session, algorithm, max_tokens=max_step)
    assert session.live == 0
    return result


def alone(
    engine: Engine, i: int, rules: Rules, seed: int, max_tokens: int
) -> tuple[tuple[int, ...], float, int]:
    """Sample i by itself: its own session, token by token."""
    session = engine.session(256)
    nodes, logits = session.extend(PROMPT, [-1, -2, -3])
    rows, tokens, logprob = len(PROMPT), [], 0.0
    for t in range(max_tokens):
        u = uniform(seed, np.array([i]), np.array([t]))
        token = int(distributions(logits, rules)[0].invert(u)[0][0])
        logprob += float(logits[0, token] - log_partition(logits)[0])
        if token == 0:
            break
        tokens.append(token)
        if t + 1 < max_tokens:
            nodes, logits = session.extend([token], nodes[-1:])
            rows += 1
    return tuple(tokens), logprob, rows


@pytest.mark.long
@pytest.mark.parametrize("engine", [FakeEngine(hashed(6), 6), random_engine()])
@pytest.mark.parametrize("rules", [OPEN, Rules(temperature=0.8, top_p=0.9, top_k=20)])
def test_a_tree_of_samples_equals_separate_runs(engine: Engine, rules: Rules) -> None:
    n = 60
    together = draw(engine, n, rules=rules)
    separate = [alone(engine, i, rules, 7, 8) for i in range(n)]
    assert [c.tokens for c in together.continuations] == [tokens for tokens, _, _ in separate]
    np.testing.assert_allclose(
        [c.logprob for c in together.continuations], [p for _, p, _ in separate], atol=1e-4
    )
    assert together.rows_unmerged == sum(rows for _, _, rows in separate)
    assert together.rows < together.rows_unmerged


@pytest.mark.long
@pytest.mark.parametrize("engine", [FakeEngine(hashed(6), 6), random_engine()])
def test_a_sample_does_not_depend_on_the_others(engine: Engine) -> None:
    rules = Rules(temperature=0.9, top_p=0.95)
    whole = draw(engine, 300, rules=rules, max_tokens=5)
    for n in (1, 8):
        fewer = draw(engine, n, rules=rules, max_tokens=5).continuations
        assert [c.tokens for c in fewer] == [c.tokens for c in whole.continuations[:n]]
    for bounds in ({"capacity": 7}, {"capacity": 40, "width": 9}, {"max_step": 5}):
        other = draw(engine, 300, rules=rules, max_tokens=5, **bounds)  # type: ignore[arg-type]
        assert [c.tokens for c in other.continuations] == [c.tokens for c in whole.continuations]
        assert other.rows == whole.rows, "nothing is computed twice"


def test_rows_count_the_distinct_prefixes() -> None:
    engine = FakeEngine(hashed(5, 3.0), 5)
    session = engine.session(4096)
    sampled = draw(engine, 100, session=session)
    prefixes = {
        c.tokens[:t] for c in sampled.continuations for t in range(1, 8) if len(c.tokens) >= t
    }
    assert sampled.rows == session.rows == len(PROMPT) + len(prefixes)


@pytest.mark.long
def test_the_capacity_is_not_exceeded_and_may_hold_one_sample() -> None:
    engine = FakeEngine(hashed(6), 6)
    for capacity in (len(PROMPT) + 7, 20, 60):
        session = engine.session(capacity)
        draw(engine, 80, session=session, capacity=capacity, end_ids=frozenset())
        assert session.most_live <= capacity
    with pytest.raises(CapacityError, match="needs 10 nodes, and there is room for 9"):
        draw(engine, 1, capacity=9)


def test_finished_branches_are_released_at_once() -> None:
    engine = FakeEngine(lambda path: log(*[0.4, *[0.1] * 6]), 7)
    session = engine.session(4096)
    tokens = [c.tokens for c in draw(engine, 60, session=session, max_tokens=12).continuations]
    # Call t computes token t of the unfinished samples; only their prefixes are live.
    for t, live in enumerate(session.lives):
        going = [path for path in tokens if len(path) >= t and t < 12]
        assert live == len(PROMPT) + len({path[:k] for path in going for k in range(1, t + 1)})


def test_counts_follow_the_exact_distribution() -> None:
    next_logits = hashed(4, 1.0)
    engine = FakeEngine(next_logits, 4)
    rules = Rules(temperature=0.8, top_p=0.95)
    exact: dict[tuple[int, ...], float] = {(): 1.0}
    for _ in range(3):
        grown: dict[tuple[int, ...], float] = {}
        for path, mass in exact.items():
            logits = np.array([next_logits((*PROMPT, *path))], np.float32)
            d = distributions(logits, rules)[0]
            for token, m in zip(d.tokens.tolist(), d.masses.tolist(), strict=True):
                grown[(*path, token)] = mass * m
        exact = grown
    n = 4000
    sampled = draw(engine, n, rules=rules, max_tokens=3, end_ids=frozenset())
    counts = Counter(c.tokens for c in sampled.continuations)
    assert counts.keys() <= exact.keys()
    chi = sum((counts[path] - n * mass) ** 2 / (n * mass) for path, mass in exact.items())
    degrees = len(exact) - 1
    # Wilson-Hilferty: the cube root is nearly normal; 3.1 is p = 0.001.
    z = ((chi / degrees) ** (1 / 3) - 1 + 2 / (9 * degrees)) / (2 / (9 * degrees)) ** 0.5
    assert z < 3.1


@pytest.mark.long
def test_the_p_values_of_many_seeds_are_uniform() -> None:
    next_logits = hashed(3, 0.7)
    engine = FakeEngine(next_logits, 3)
    first = distributions(np.array([next_logits((1,))], np.float32), OPEN)[0].masses
    after = np.array([next_logits((1, t)) for t in range(3)], np.float32)
    exact = first[:, None] * np.array([d.masses for d in distributions(after, OPEN)])
    p_values = []
    for seed in range(200):
        drawn = draw(engine, 150, prompt=[1], seed=seed, max_tokens=2, end_ids=())
        counts = np.zeros((3, 3))
        for c in drawn.continuations:
            counts[c.tokens] += 1
        half = ((counts - 150 * exact) ** 2 / (150 * exact)).sum() / 2
        # For 8 degrees of freedom, an even number, the chi-square tail is a finite sum.
        p_values.append(math.exp(-half) * sum(half**j / math.factorial(j) for j in range(4)))
    ranks = np.arange(200)
    distance = np.abs(np.sort(p_values) - (ranks + 0.5) / 200).max() + 0.5 / 200
    assert distance < 1.95 / 200**0.5  # Kolmogorov-Smirnov, p = 0.001


def test_greedy_takes_the_most_probable_token() -> None:
    engine = random_engine()
    session = engine.session(64)
    nodes, logits = session.extend(PROMPT, [-1, -2, -3])
    expected = []
    for _ in range(6):
        expected.append(int(logits[0].argmax()))
        nodes, logits = session.extend(expected[-1:], nodes[-1:])
    sampled = draw(
        engine, 5, rules=Rules(temperature=0, top_p=1), max_tokens=6, end_ids=frozenset()
    )
    assert {c.tokens for c in sampled.continuations} == {tuple(expected)}
    assert sampled.rows == len(PROMPT) + 5


def test_the_end_token_counts_in_the_logprob_only() -> None:
    engine = FakeEngine(lambda path: log(0.25, 0.75) if len(path) == 2 else log(0.5, 0.5), 2)
    sampled = draw(engine, 64, prompt=[1], max_tokens=2)
    for c in sampled.continuations:
        expected = {(): 0.5, (1,): 0.125 if c.ended else 0.375, (1, 1): 0.375}[c.tokens]
        assert c.logprob == pytest.approx(np.log(expected))
        assert c.ended == (len(c.tokens) < 2)


def test_on_token_can_end_a_sample_after_a_token() -> None:
    engine = FakeEngine(hashed(6), 6)
    reported: list[tuple[int, int]] = []

    def watch(i: int, token: int) -> bool:
        assert i not in over
        reported.append((i, token))
        return token == 2

    over: list[int] = []
    sampled = draw(engine, 40, on_token=watch, on_end=over.append)
    assert sorted(over) == list(range(40))
    for i, c in enumerate(sampled.continuations):
        assert [token for j, token in reported if j == i] == list(c.tokens)
        assert 2 not in c.tokens[:-1]
        assert c.ended == (c.tokens[-1:] == (2,) or len(c.tokens) < 8)


def test_a_full_context_ends_a_sample() -> None:
    engine = FakeEngine(hashed(6), 6, n_positions=6)
    sampled = draw(engine, 3, max_tokens=50, end_ids=frozenset())
    # Positions 3, 4 and 5 are computed; one more token is drawn after position 5.
    assert [len(c.tokens) for c in sampled.continuations] == [4, 4, 4]
    assert not any(c.ended for c in sampled.continuations)


@pytest.mark.long
@pytest.mark.parametrize("n_positions", [6, 7])
@pytest.mark.parametrize("capacity", [4096, None])
def test_sliding_drops_the_older_half_of_the_context(
    n_positions: int, capacity: int | None
) -> None:
    next_logits = hashed(5, 3.0)
    engine = FakeEngine(next_logits, 5, n_positions=n_positions)
    bounds = Limits(max_tokens=20, n_positions=n_positions, end_ids=(), slide=True)
    capacity = capacity or bounds.rows(len(PROMPT), 20)
    session = engine.session(capacity)
    sampled = draw(
        engine, 6, max_tokens=20, end_ids=(), slide=True, capacity=capacity, session=session
    )
    total = 0
    for i, c in enumerate(sampled.continuations):
        context, total = list(PROMPT), total + len(PROMPT)
        for t, token in enumerate(c.tokens):
            logits = np.array([next_logits(tuple(context))], np.float32)
            u = uniform(7, np.array([i]), np.array([t]))
            assert distributions(logits, OPEN)[0].invert(u)[0][0] == token
            if t == 19:
                break
            if len(context) == n_positions:
                context = context[(n_positions + 1) // 2 :]
                total += len(context)
            context.append(token)
            total += 1
    assert sampled.rows_unmerged == total
    assert sampled.rows < total
    assert session.most_live <= capacity


@pytest.mark.parametrize("slide", [False, True])
@pytest.mark.parametrize("n_positions", range(1, 10))
def test_the_rows_of_one_sample_are_the_sum_of_its_steps(n_positions: int, slide: bool) -> None:
    for prompt in range(1, n_positions + 1):
        limits = Limits(max_tokens=23, n_positions=n_positions, end_ids=(), slide=slide)
        depth = rows = prompt  # after the first token, which needs the prompt only
        tokens = 1
        assert limits.rows(prompt, tokens) == rows
        while tokens < 23 and (slide or depth < n_positions):
            if depth == n_positions:
                depth = limits.kept
                rows += depth
            depth, rows, tokens = depth + 1, rows + 1, tokens + 1
            assert limits.rows(prompt, tokens) == rows
        assert limits.longest(prompt) == tokens


def test_a_sliding_greedy_loop_is_one_sample_long() -> None:
    # A periodic text has equal contexts again and again; each must be computed again.
    engine = FakeEngine(lambda path: log(0, *np.eye(3)[path[-1] % 3]), 4, n_positions=7)
    sampled = draw(engine, 3, rules=Rules(temperature=0), max_tokens=40, slide=True)
    assert {c.tokens for c in sampled.continuations} == {tuple([3, 1, 2] * 14)[:40]}
    session = FakeSession(engine, 4096)
    draw(engine, 1, rules=Rules(temperature=0), max_tokens=40, slide=True, session=session)
    assert session.most_live <= 7 + 4


def periodic(path: tuple[int, ...]) -> list[float]:
    """A uniform first token of 20, then one of two tokens: shares with period 1/20."""
    return log(*[0.05] * 20) if len(path) == 1 else log(*[0.7 / 10, 0.3 / 10] * 10)


@pytest.mark.long
@pytest.mark.parametrize("n", [10, 20])
@pytest.mark.parametrize("next_logits", [hashed(20), periodic])
def test_stratified_shares_are_unbiased_with_at_most_the_same_variance(
    n: int, next_logits: Any
) -> None:
    engine = FakeEngine(next_logits, 20)
    rules = OPEN
    logits = np.array([[next_logits((1, t)) for t in range(20)]], np.float32)[0]
    first = distributions(np.array([next_logits((1,))], np.float32), rules)[0].masses
    even = [d.masses[::2].sum() for d in distributions(logits, rules)]
    exact = float((first * even).sum())  # the mass of an even second token
    shares: dict[str, list[float]] = {"independent": [], "stratified": []}
    for seed in range(120):
        for name, draws in (
            ("independent", Independent(seed)),
            ("stratified", Stratified(seed, n)),
        ):
            drawn = draw(engine, n, prompt=[1], rules=rules, source=draws, max_tokens=2, end_ids=())
            even = [c.tokens[1] % 2 == 0 for c in drawn.continuations]
            shares[name].append(float(np.mean(even)))
    for values in shares.values():
        assert abs(np.mean(values) - exact) < 4 * np.std(values) / 120**0.5 + 1e-12
    # The ratio of two variances from 120 values each is below 1.5 in 99 of 100 cases.
    assert np.var(shares["stratified"]) < 1.5 * np.var(shares["independent"])
