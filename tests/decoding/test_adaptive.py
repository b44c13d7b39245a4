from __future__ import annotations

from typing import Any

import pytest

from cpm_lm.decoding.adaptive import FIRST_ROUND, sample_until
from cpm_lm.decoding.rng import Independent
from cpm_lm.decoding.sampling import Limits, Sampled, sample
from cpm_lm.decoding.scheduler import run
from cpm_lm.distributions.rules import Rules
from cpm_lm.errors import CapacityError, RequestError
from tests.support.fakes import FakeEngine, hashed

RULES = Rules(temperature=1, top_p=0.9)


def draw(prompt: list[int], n: int, enough: Any = lambda: False, **limits: Any) -> Sampled:
    engine = FakeEngine(hashed(6), 6, n_positions=12)
    session = engine.session(limits.get("capacity", 4096))
    reported: list[tuple[int, int]] = []
    over: list[int] = []

    def watch(i: int, token: int) -> bool:
        reported.append((i, token))
        return token == 5

    bounds = Limits(**{"max_tokens": 6, "n_positions": 12, "end_ids": {0}, **limits})
    algorithm = sample_until(
        prompt,
        n,
        rules=RULES,
        seed=3,
        limits=bounds,
        enough=enough,
        on_token=watch,
        on_end=over.append,
    )
    found = run(session, algorithm)
    assert session.live == 0
    assert session.rows == found.rows
    assert session.most_live <= bounds.capacity
    assert sorted(over) == list(range(len(found.continuations)))
    for i, c in enumerate(found.continuations):
        assert tuple(token for j, token in reported if j == i) == c.tokens
    return found


@pytest.mark.parametrize("prompt", [[2], [3, 1, 2], [1] * 10])
@pytest.mark.parametrize("n", [1, FIRST_ROUND, FIRST_ROUND + 1, 100])
def test_a_sample_does_not_depend_on_its_round(prompt: list[int], n: int) -> None:
    engine = FakeEngine(hashed(6), 6, n_positions=12)
    limits = Limits(max_tokens=6, n_positions=12, end_ids={0})
    whole = sample(
        prompt,
        n,
        rules=RULES,
        source=Independent(3),
        limits=limits,
        on_token=lambda _, token: token == 5,
    )
    expected = run(engine.session(4096), whole)
    found = draw(prompt, n)
    assert [c.tokens for c in found.continuations] == [c.tokens for c in expected.continuations]
    assert [c.ended for c in found.continuations] == [c.ended for c in expected.continuations]
    assert found.rows_unmerged == expected.rows_unmerged
    assert expected.rows <= found.rows <= found.rows_unmerged
    tight = draw(prompt, n, capacity=len(prompt) + 5)
    assert [c.tokens for c in tight.continuations] == [c.tokens for c in expected.continuations]


def test_rounds_double_until_there_is_enough() -> None:
    calls: list[int] = []

    def enough() -> bool:
        calls.append(1)
        return len(calls) == 3

    assert len(draw([3, 1, 2], 300, enough).continuations) == 4 * FIRST_ROUND
    assert len(calls) == 3
    assert draw([3, 1, 2], 300, enough=lambda: True).rows < draw([3, 1, 2], 300).rows


def test_samples_that_do_not_fit_are_refused() -> None:
    with pytest.raises(RequestError, match="'slide'"):
        draw([1], 4, slide=True)
    for prompt, capacity in (([1, 2], 1), ([1, 2], 6)):
        with pytest.raises(CapacityError, match="nodes"):
            draw(prompt, 4, capacity=capacity)
