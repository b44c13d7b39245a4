from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cpm_lm.decoding.protocol import Algorithm, Extend, Extended
from cpm_lm.decoding.rng import Independent
from cpm_lm.decoding.sampling import Limits, Sampled, sample
from cpm_lm.decoding.scheduler import Scheduler, run
from cpm_lm.distributions.rules import Rules
from cpm_lm.engines.forest import chain
from cpm_lm.engines.wants import Logits
from cpm_lm.errors import CapacityError, RequestError
from tests.support.fakes import FakeEngine, FakeSession, hashed, random_engine

ENGINE = FakeEngine(hashed(6), 6)


def request(
    tokens: list[int], parents: list[int], at: list[int] | None = None, **more: Any
) -> Extend:
    return Extend(
        tokens=np.array(tokens, np.int32),
        parents=np.array(parents, np.int32),
        wants=[Logits(np.array([len(tokens) - 1] if at is None else at, np.int32))],
        **{name: np.array(value, np.int32) for name, value in more.items()},
    )


def sampler(prompt: list[int], n: int, seed: int, **more: Any) -> Algorithm[Sampled]:
    limits = Limits(max_tokens=6, n_positions=32, end_ids=(0,), **more)
    rules = Rules(temperature=1, top_p=1)
    return sample(prompt, n, rules=rules, source=Independent(seed), limits=limits)


def once(*requests: Extend) -> Algorithm[list[Extended]]:
    replies: list[Extended] = []
    for each in requests:
        reply = yield each
        replies += [reply]
    return replies


def failing() -> Algorithm[float]:
    reply = yield request([1], [-1])
    return 1 / (len(reply.nodes) - 1)


@pytest.mark.parametrize("max_tokens", [1, 2, 3, 5, 100])
def test_slices_equal_one_call(max_tokens: int) -> None:
    # Two roots, branches to earlier tokens of the request, logits in any order.
    whole = request([1, 2, 3, 4, 5, 1], [-1, -2, -2, -1, -3, -5], [5, 0, 3])
    session = FakeSession(ENGINE, 64)
    [reply] = run(session, once(whole), max_tokens=max_tokens)
    paths = [(4, 1), (1,), (4,)]
    np.testing.assert_allclose(reply.answers[0], [hashed(6)(p) for p in paths], rtol=1e-6)
    assert max(session.calls) <= max_tokens
    assert session.live == 0


@pytest.mark.long
def test_algorithms_together_get_the_results_they_get_alone() -> None:
    prompts = [[1, 2, 3], [4] * 20, [5], [3, 3]]
    for engine in (ENGINE, random_engine(6)):
        alone = [run(engine.session(256), sampler(p, 10, i)) for i, p in enumerate(prompts)]
        session = engine.session(256)
        with Scheduler(session, max_tokens=7) as scheduler:
            jobs = []
            for i, prompt in enumerate(prompts):
                jobs.append(scheduler.add(sampler(prompt, 10, i, capacity=64), nodes=64))
                scheduler.step()  # later jobs are added while earlier ones run
            while not all(job.done for job in jobs):
                scheduler.step()
            assert session.live == 0
        for job, expected in zip(jobs, alone, strict=True):
            got = job.result()
            assert [c.tokens for c in got.continuations] == [
                c.tokens for c in expected.continuations
            ]
            assert got.rows == expected.rows


def test_a_long_prompt_does_not_delay_the_others() -> None:
    session = FakeSession(FakeEngine(hashed(6), 6, n_positions=512), 1024)
    with Scheduler(session, max_tokens=8) as scheduler:
        scheduler.add(sampler([1] * 400, 1, 0, capacity=500), nodes=500)
        short = scheduler.add(sampler([2], 1, 1, capacity=20), nodes=20)
        steps = 0
        while not short.done:
            scheduler.step()
            steps += 1
        assert steps <= 7
        assert max(session.calls) == 8, "the long prompt uses the tokens that the short one leaves"
    assert session.live == 0


def test_equal_requests_share_the_steps_equally() -> None:
    session = FakeSession(FakeEngine(hashed(6), 6, n_positions=512), 1024)
    with Scheduler(session, max_tokens=5) as scheduler:
        jobs = [
            scheduler.add(once(request([1] * 50, chain(50).tolist())), nodes=50) for _ in range(3)
        ]
        ended = []
        for step in range(30):
            ended += [step for _ in scheduler.step()]
    assert all(job.done for job in jobs)
    assert max(ended) - min(ended) <= 1
    assert max(ended) == 29  # 150 tokens in steps of 5


def test_jobs_wait_in_order_until_their_nodes_are_free() -> None:
    session = FakeSession(ENGINE, 40)
    with Scheduler(session) as scheduler:
        jobs = [scheduler.add(sampler([1, 2], 3, i, capacity=20), nodes=20) for i in range(5)]
        order = []
        while not all(job.done for job in jobs):
            order += scheduler.step()
        assert session.most_live <= 40
    assert sorted(map(jobs.index, order[:2])) == [0, 1]
    with pytest.raises(CapacityError, match="41 nodes are needed, and the session has 40"):
        Scheduler(session).add(sampler([1], 1, 0), nodes=41)


def test_an_error_ends_the_job_that_caused_it_and_no_other() -> None:
    session = FakeSession(ENGINE, 256)
    expected = run(FakeSession(ENGINE, 256), sampler([1, 2], 5, 0))
    with Scheduler(session) as scheduler:
        good = scheduler.add(sampler([1, 2], 5, 0, capacity=64), nodes=64)
        bad = scheduler.add(once(request([1], [-1]), request([99], [-1])), nodes=64)
        broken = scheduler.add(failing(), nodes=64)
        while not (good.done and bad.done and broken.done):
            scheduler.step()
    with pytest.raises(RequestError, match=r"tokens\[0\] is 99; expected 0 to 5"):
        bad.result()
    with pytest.raises(ZeroDivisionError):
        broken.result()
    assert good.result() == expected
    assert session.live == 0


def test_nodes_are_released_before_new_ones_are_added() -> None:
    session = FakeSession(ENGINE, 2)

    def algorithm() -> Algorithm[int]:
        reply = yield request([1, 2], [-1, -2])
        reply = yield request([3], [int(reply.nodes[0])], release=reply.nodes[1:].tolist())
        reply = yield request([], [], [], release=reply.nodes.tolist())
        assert reply.answers[0].shape == (0, 6)
        return session.live

    assert run(session, algorithm()) == 1
    assert session.live == 0


def test_cancel_and_close_release_all_nodes() -> None:
    session = FakeSession(ENGINE, 100)
    closed = []

    def endless(name: str) -> Algorithm[None]:
        parent = -1
        try:
            while True:
                reply = yield request([1], [parent])
                parent = int(reply.nodes[0])
        finally:
            closed.append(name)

    with Scheduler(session) as scheduler:
        first = scheduler.add(endless("first"), nodes=40)
        scheduler.add(endless("second"), nodes=40)
        waiting = scheduler.add(endless("third"), nodes=40)
        for _ in range(3):
            scheduler.step()
        assert session.live == 6
        scheduler.cancel(first)
        assert session.live == 3
        scheduler.step()
        assert session.live == 5, "the third has moved up"
        scheduler.cancel(first)  # a second call changes nothing
    assert session.live == 0
    assert sorted(closed) == ["first", "second", "third"]
    with pytest.raises(RequestError, match="cancelled"):
        waiting.result()


def test_an_interrupt_releases_all_nodes() -> None:
    def interrupted(path: tuple[int, ...]) -> Any:
        if len(path) == 4:
            raise KeyboardInterrupt
        return hashed(6)(path)

    session = FakeSession(FakeEngine(interrupted, 6), 256)
    with pytest.raises(KeyboardInterrupt):
        run(session, sampler([1, 2], 5, 0))
    assert session.live == 0


def test_a_step_computes_at_least_one_token() -> None:
    with pytest.raises(RequestError, match="max_tokens is 0"):
        Scheduler(FakeSession(ENGINE, 4), max_tokens=0)
