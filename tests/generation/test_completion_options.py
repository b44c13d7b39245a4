"""Echo, alternatives and texts that the bans end, through `Model` and through requests."""

from __future__ import annotations

from typing import Any

import pytest

from cpm_lm.decoding.scheduler import Scheduler
from cpm_lm.errors import RequestError
from cpm_lm.generation.completion import CompletionRequest
from cpm_lm.generation.options import SamplingOptions
from cpm_lm.model import Model
from tests.support.fakes import FakeEngine, FakeTokenizer, hashed

LETTERS = " abcde\n"
ENGINE = FakeEngine(hashed(len(LETTERS), 1.0), len(LETTERS))
TOKENIZER = FakeTokenizer(LETTERS)


def model() -> Model:
    return Model(ENGINE, TOKENIZER)


def test_a_text_without_a_token_left_ends_and_says_so() -> None:
    options: dict[str, Any] = {"no_repeat_ngram": 1, "ignore_eos": True, "seed": 1}
    samples = model().sample("a", n=3, **options)
    for sample in samples:
        assert sample.finish_reason == "banned"
        assert sorted(sample.text) == ["\n", "b", "c", "d", "e"], "each of the rest once"
        assert "3 of 3 texts ended early, because the bans left no token" in sample.note
    free = model().sample("a", n=3, seed=1)
    assert {sample.finish_reason for sample in free} <= {"stop", "length"}
    assert "bans" not in free[0].note


@pytest.mark.parametrize("options", [{"n": 4}, {"n": 4, "confidence": 0.9}, {"method": "exact"}])
def test_a_vote_says_so_too(options: dict[str, Any]) -> None:
    vote = model().vote("a", no_repeat_ngram=1, ignore_eos=True, ban=[6], **options)
    assert "100.0% of the texts ended early, because the bans left no token" in vote.note
    assert vote.cut_off == 0
    assert {"".join(sorted(row.answer)) for row in vote.tally} == {"bcde"}


def test_echo_comes_first_once_and_is_not_drawn() -> None:
    plain = model().sample("ab", n=3, seed=2)
    parts: list[list[str]] = [[], [], []]
    echoed = model().sample(
        "ab", n=3, seed=2, echo=True, on_text=lambda i, text, _: parts[i].append(text)
    )
    for i, (one, other) in enumerate(zip(plain, echoed, strict=True)):
        assert other.text == "ab" + one.text == "".join(parts[i])
        assert other.token_ids == one.token_ids
    assert "".join(model().stream("ab", seed=2, echo=True)) == echoed[0].text
    assert model().sample([1, 2], seed=2, echo=True)[0].text == echoed[0].text


def test_echo_is_not_repeated_after_a_restart() -> None:
    options = SamplingOptions(n=5, max_tokens=8, seed=5, temperature=1, echo=True, top_logprobs=2)
    request = CompletionRequest(TOKENIZER, ENGINE.config, "abc", options)
    texts = [""] * 5
    for steps in (2, 3, 1000):
        with Scheduler(ENGINE.session(request.node_budget)) as scheduler:
            job = scheduler.add(request.algorithm())
            while not job.done and steps:
                scheduler.step()
                steps -= 1
                for delta in request.poll():
                    texts[delta.index] += delta.text
    assert texts == [sample.text for sample in request.result()]
    assert all(text.startswith("abc") and text.count("abc") >= 1 for text in texts)
    for sample in request.result():
        drawn = [entry.token_id for entry in sample.top_logprobs]
        assert drawn[: len(sample.token_ids)] == list(sample.token_ids)
        assert all(len(entry.top) == 2 for entry in sample.top_logprobs)


def test_a_stream_is_one_text_only() -> None:
    with pytest.raises(RequestError, match="n is 2; a stream has one continuation"):
        model().stream("a", n=2)
    with pytest.raises(RequestError, match="top_logprobs is 1; a stream is text only"):
        model().stream("a", top_logprobs=1)
    with pytest.raises(RequestError, match="top_logprobs is 8; expected an integer from 0 to 7"):
        model().sample("a", top_logprobs=8)


def test_end_tokens_wait_for_min_tokens_and_may_be_ignored() -> None:
    ends = [len(s.token_ids) for s in model().sample("a", n=40, seed=3, max_tokens=9)]
    assert min(ends) < 4
    least = model().sample("a", n=40, seed=3, max_tokens=9, min_tokens=4)
    assert min(len(s.token_ids) for s in least) == 4
    never = model().sample("a", n=40, seed=3, max_tokens=9, ignore_eos=True)
    assert {len(s.token_ids) for s in never} == {9}
