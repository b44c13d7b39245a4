"""Requests: run by any scheduler, stopped and restarted, polled without repetition."""

from __future__ import annotations

from typing import Any

import pytest

from cpm_lm.decoding.scheduler import Scheduler
from cpm_lm.engines.base import Session
from cpm_lm.generation.completion import CompletionRequest
from cpm_lm.generation.options import SamplingOptions, VotingOptions
from cpm_lm.generation.request import GenerationRequest
from cpm_lm.generation.vote_request import VoteRequest
from tests.support.fakes import FakeEngine, FakeTokenizer, hashed

LETTERS = " abcdefghij\n"
ENGINE = FakeEngine(hashed(len(LETTERS)), len(LETTERS))
TOKENIZER = FakeTokenizer(LETTERS)


def completion(**options: Any) -> CompletionRequest:
    wanted = SamplingOptions(**{"n": 12, "max_tokens": 9, "seed": 5, "temperature": 1, **options})
    return CompletionRequest(TOKENIZER, ENGINE.config, "abc", wanted)


def voting(**options: Any) -> VoteRequest:
    wanted = VotingOptions(**{"n": 60, "max_tokens": 5, "seed": 5, **options})
    return VoteRequest(TOKENIZER, ENGINE.config, "abc", wanted)


def run(session: Session, request: GenerationRequest[Any, Any], steps: int = 10**6) -> list[Any]:
    """Run some steps of a request, then release its nodes; return the polled events."""
    events: list[Any] = []
    with Scheduler(session) as scheduler:
        job = scheduler.add(request.algorithm(), nodes=request.node_budget)
        while not job.done and steps:
            scheduler.step()
            events += request.poll()
            steps -= 1
    assert session.live == 0
    return events


@pytest.mark.parametrize("stop", [(), "de", ["a", "fg"]])
@pytest.mark.parametrize("stops", [[0], [1], [4], [2, 5, 3]])
def test_a_restarted_completion_repeats_no_text(stops: list[int], stop: Any) -> None:
    whole = completion(stop=stop)
    run(ENGINE.session(1024), whole)
    request = completion(stop=stop)
    events = []
    for steps in stops:
        events += run(ENGINE.session(1024), request, steps)
    if max(stops) > 2 and not stop:
        assert any(event.text for event in events), "text was reported before the end"
    events += run(ENGINE.session(1024), request)
    assert request.result() == whole.result()
    for sample in request.result():
        own = [event for event in events if event.index == sample.index]
        assert "".join(event.text for event in own) == sample.text
        assert [event.finished for event in own] == [False] * (len(own) - 1) + [True]
    assert request.poll() == []


@pytest.mark.parametrize(
    "options", [{}, {"method": "stratified"}, {"confidence": 0.9}, {"method": "exact"}]
)
def test_a_restarted_vote_reports_only_progress(options: dict[str, Any]) -> None:
    whole = voting(**options)
    run(ENGINE.session(1024), whole)
    request = voting(**options)
    events = run(ENGINE.session(1024), request, 3) + run(ENGINE.session(1024), request)
    shares = [event.decided for event in events]
    assert shares == sorted(set(shares))
    expected, found = whole.result(), request.result()
    assert found.tally == expected.tally
    assert (found.rows, found.reason, found.winner) == (
        expected.rows,
        expected.reason,
        expected.winner,
    )


@pytest.mark.long
def test_requests_in_one_scheduler_get_the_results_they_get_alone() -> None:
    requests: list[Any] = [completion(seed=1), voting(seed=2), voting(method="exact")]
    requests.append(completion(top_k=2, filter_order="cpm", seed=4))
    alone: list[Any] = [completion(seed=1), voting(seed=2), voting(method="exact")]
    alone.append(completion(top_k=2, filter_order="cpm", seed=4))
    for request in alone:
        run(ENGINE.session(1024), request)
    session = ENGINE.session(4096)
    with Scheduler(session, max_tokens=11) as scheduler:
        jobs = [scheduler.add(r.algorithm(), nodes=r.node_budget) for r in requests]
        while not all(job.done for job in jobs):
            scheduler.step()
    for request, expected in zip(requests, alone, strict=True):
        got, wanted = request.result(), expected.result()
        if isinstance(request, VoteRequest):
            assert (got.tally, got.rows) == (wanted.tally, wanted.rows)
        else:
            assert got == wanted
