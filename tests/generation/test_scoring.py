"""Scores and perplexity: what is scored, by which unit, and what is refused."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpm_lm.decoding.scheduler import run
from cpm_lm.errors import RequestError
from cpm_lm.generation.perplexity import Perplexity, PerplexityRequest
from cpm_lm.generation.scoring import Query, ScoreRequest, Scores
from tests.support.fakes import FakeEngine, FakeTokenizer, hashed

LETTERS = " abcdefgh，\n"
ENGINE = FakeEngine(hashed(len(LETTERS)), len(LETTERS), n_positions=32)
TOKENIZER = FakeTokenizer(LETTERS)
words = st.text(LETTERS[1:], min_size=1, max_size=6)


def log_probability(before: tuple[int, ...], token: int) -> float:
    logits = list(hashed(len(LETTERS))(before))
    return logits[token] - math.log(math.fsum(map(math.exp, logits)))


def scored(*queries: tuple[Any, list[Any]], **options: Any) -> Scores:
    wanted = [Query(prompt=prompt, continuations=texts) for prompt, texts in queries]
    request = ScoreRequest(TOKENIZER, ENGINE.config, wanted, **options)
    run(ENGINE.session(request.node_budget), request.algorithm())
    return request.result()


def perplexity(text: str, **options: Any) -> Perplexity:
    request = PerplexityRequest(TOKENIZER, ENGINE.config, text, **options)
    run(ENGINE.session(request.node_budget), request.algorithm())
    return request.result()


@given(words, st.lists(words, min_size=1, max_size=4))
def test_each_token_is_scored_after_all_before_it(prompt: str, texts: list[str]) -> None:
    found = scored((prompt, texts)).scores[0]
    for text, score in zip(texts, found, strict=True):
        ids, before = TOKENIZER.encode(text), TOKENIZER.encode(prompt)
        before = [*TOKENIZER.prefix_ids, *before]
        expected = [log_probability((*before, *ids[:at]), token) for at, token in enumerate(ids)]
        assert score.text == text
        assert score.token_ids == tuple(ids)
        assert score.token_logprobs == pytest.approx(expected, abs=1e-6)
        assert score.logprob == pytest.approx(math.fsum(expected), abs=1e-6)
        assert score.per_token == pytest.approx(score.logprob / len(ids))
        assert score.per_character == pytest.approx(score.logprob / len(text))
        assert score.per_byte == pytest.approx(score.logprob / len(text.encode()))


def test_the_start_of_a_text_is_an_end_token_where_there_is_no_prefix() -> None:
    (end,) = sorted(TOKENIZER.end_ids)[:1]
    assert TOKENIZER.prefix_ids == ()
    (score,) = scored(("abc", ["de"])).scores[0]
    d, e = TOKENIZER.encode("de")
    alone = log_probability((end,), d) + log_probability((end, d), e)
    assert score.pmi == pytest.approx(score.logprob - alone, abs=1e-6)
    (alone_score,) = scored(("", ["de"])).scores[0]
    assert alone_score.logprob == pytest.approx(alone, abs=1e-6)
    assert alone_score.pmi == pytest.approx(0, abs=1e-9)


def test_a_shared_header_is_computed_once() -> None:
    header = "abcdefgh" * 2
    queries = [(header + text, ["a，", "bb", "hc"]) for text in ("ab", "cd", "ef")]
    found = scored(*queries, pmi=False)
    size = len(TOKENIZER.encode(header))
    assert found.rows == size + 3 * 2 + 3 * 3
    assert found.rows_apart == 9 * (size + 2 + 1)
    for query, scores in zip(queries, found.scores, strict=True):
        assert scores == scored(query, pmi=False).scores[0]


class Joining(FakeTokenizer):
    """`bc` is one token, `a`, whatever stands around it."""

    def encode(self, text: str) -> list[int]:
        return super().encode(text.replace("bc", "h"))


def test_joint_scores_from_the_first_token_that_the_prompt_lacks() -> None:
    tokenizer = Joining(LETTERS)
    query = Query(prompt="ab", continuations=["cd"])
    for boundary, wanted in (("apart", "cd"), ("joint", "hd")):
        request = ScoreRequest(tokenizer, ENGINE.config, [query], boundary=boundary)
        run(ENGINE.session(request.node_budget), request.algorithm())
        (score,) = request.result().scores[0]
        assert score.text == "cd"
        assert list(score.token_ids) == FakeTokenizer(LETTERS).encode(wanted)


def test_ids_are_used_unchanged() -> None:
    ids = TOKENIZER.encode("ab")
    given_ids = scored((ids, [TOKENIZER.encode("cd"), "cd"])).scores[0]
    assert given_ids[0] == given_ids[1]


@pytest.mark.parametrize(
    ("prompt", "texts", "options", "said"),
    [
        ("a", [], {}, "nothing to score"),
        ("a", [""], {}, "has no tokens"),
        ("a", [[]], {}, "has no tokens"),
        ("a", [[99]], {}, "token id 99"),
        ([-1], ["a"], {}, "token id -1"),
        ("a" * 33, ["b"], {}, "34 tokens; the model can score 33"),
        ("a", ["b"], {"boundary": "both"}, "expected 'apart' or 'joint'"),
        ([1], ["b"], {"boundary": "joint"}, "needs text"),
    ],
)
def test_bad_requests(prompt: Any, texts: list[Any], options: dict[str, Any], said: str) -> None:
    with pytest.raises(RequestError, match=said):
        scored((prompt, texts), **options)


def test_a_context_that_is_just_filled() -> None:
    (score,) = scored(("a" * 31, ["bc"])).scores[0]
    assert len(score.token_ids) == 2


@given(st.text(LETTERS[1:], min_size=1, max_size=90), st.integers(1, 40))
def test_a_window_slides_and_scores_every_token_once(text: str, stride: int) -> None:
    found, context = perplexity(text, stride=stride), 32
    ids = [*sorted(TOKENIZER.end_ids)[:1], *TOKENIZER.encode(text)]
    used, expected = min(stride, context), []
    for at in range(1, len(ids)):
        # The first window that holds the token; each begins a stride after the one before.
        begin = max(0, math.ceil((at - context) / used) * used)
        expected.append(log_probability(tuple(ids[begin:at]), ids[at]))
    assert found.token_logprobs == pytest.approx(expected, abs=1e-6)
    assert found.token_ids == tuple(ids[1:])
    assert (found.tokens, found.characters, found.stride) == (len(ids) - 1, len(text), used)
    mean = -math.fsum(expected) / len(expected)
    assert found.per_token == pytest.approx(math.exp(mean), rel=1e-5)
    assert found.per_character == pytest.approx(math.exp(-found.logprob / len(text)), rel=1e-9)
    size = len(text.encode())
    assert found.per_byte == pytest.approx(math.exp(-found.logprob / size), rel=1e-9)


def test_logits_of_a_long_text_are_never_all_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """1,024 rows of 30,000 logits were 123 MB."""
    asked: list[int] = []
    request = PerplexityRequest(TOKENIZER, ENGINE.config, "abc" * 9)
    session = ENGINE.session(request.node_budget)
    block = session._logits

    def logits(hidden: Any, rows: np.ndarray) -> Any:
        asked.append(len(rows))
        return block(hidden, rows)

    monkeypatch.setattr(session, "_logits", logits)
    monkeypatch.setattr("cpm_lm.engines.wants.BLOCK_BYTES", 4 * len(LETTERS) * 5)
    run(session, request.algorithm())
    assert max(asked) <= 5
    assert sum(asked) == request.result().tokens


@pytest.mark.parametrize(("text", "stride"), [("", 8), ("abc", 0), ("abc", -1)])
def test_bad_perplexities(text: str, stride: Any) -> None:
    with pytest.raises(RequestError):
        perplexity(text, stride=stride)
