"""The filters of a path, judged by transformers' processors and OpenAI's formula."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpm_lm.decoding.banned_text import BannedText
from cpm_lm.decoding.penalties import PathFilters
from cpm_lm.distributions.draw import probabilities
from cpm_lm.distributions.rules import Rules

V = 6
OPEN = Rules(temperature=1.0, top_p=1.0)
paths = st.lists(st.integers(0, V - 1), min_size=1, max_size=9)
rows = st.lists(st.floats(-8, 8, width=32), min_size=V, max_size=V)


def ours(filters: PathFilters, prompt: list[int], drawn: list[int], row: list[float]) -> Any:
    """The distribution after a path; the history is extended token by token."""
    history = filters.start(prompt)
    for token in drawn:
        history = filters.extended(history, token)
    return probabilities(np.array([row], np.float32), OPEN, filters.edits([history]))


def judged(steps: list[Any], path: list[int], row: list[float]) -> Any:
    torch = pytest.importorskip("torch")
    ids = torch.tensor([path])
    scores = torch.tensor(np.array([row], np.float32), dtype=torch.float64)
    for step in steps:
        scores = step(ids, scores)
    if not (scores > -np.inf).any():
        return np.zeros((1, V))
    return torch.softmax(scores, -1).numpy()


@given(paths, paths, rows, st.sampled_from([0.5, 1.1, 2.0]))
def test_the_repetition_penalty_is_that_of_transformers(
    prompt: list[int], drawn: list[int], row: list[float], penalty: float
) -> None:
    process = pytest.importorskip("transformers.generation.logits_process")
    step = process.RepetitionPenaltyLogitsProcessor(penalty)
    got = ours(PathFilters(repetition_penalty=penalty), prompt, drawn, row)
    np.testing.assert_allclose(got, judged([step], prompt + drawn, row), rtol=1e-12)


@given(paths, paths, rows, st.integers(1, 4))
def test_ngrams_are_those_of_transformers(
    prompt: list[int], drawn: list[int], row: list[float], n: int
) -> None:
    process = pytest.importorskip("transformers.generation.logits_process")
    step = process.NoRepeatNGramLogitsProcessor(n)
    got = ours(PathFilters(no_repeat_ngram=n), prompt, drawn, row)
    expected = judged([step], prompt + drawn, row)
    assert ((got > 0) == (expected > 0)).all()
    np.testing.assert_allclose(got, expected, rtol=1e-12)


sequences = st.lists(
    st.lists(st.integers(0, V - 1), min_size=1, max_size=3), min_size=1, max_size=5, unique_by=tuple
)


@given(paths, paths, rows, sequences)
def test_bans_of_ids_are_those_of_transformers(
    prompt: list[int], drawn: list[int], row: list[float], bans: list[list[int]]
) -> None:
    process = pytest.importorskip("transformers.generation.logits_process")
    step = process.NoBadWordsLogitsProcessor(bans)
    got = ours(PathFilters(bans=tuple(map(tuple, bans))), prompt, drawn, row)
    np.testing.assert_allclose(got, judged([step], prompt + drawn, row), rtol=1e-12)


@given(paths, st.lists(st.integers(0, V - 1), max_size=5), rows, st.integers(1, 4))
def test_min_tokens_is_that_of_transformers(
    prompt: list[int], drawn: list[int], row: list[float], least: int
) -> None:
    process = pytest.importorskip("transformers.generation.logits_process")
    step = process.MinNewTokensLengthLogitsProcessor(len(prompt), least, [0, 3], device="cpu")
    got = ours(PathFilters(min_tokens=least, end_ids=(0, 3)), prompt, drawn, row)
    np.testing.assert_allclose(got, judged([step], prompt + drawn, row), rtol=1e-12)


@given(rows, st.dictionaries(st.integers(0, V - 1), st.floats(-5, 5), min_size=1))
def test_a_bias_is_that_of_transformers(row: list[float], bias: dict[int, float]) -> None:
    process = pytest.importorskip("transformers.generation.logits_process")
    step = process.SequenceBiasLogitsProcessor({(token,): b for token, b in bias.items()})
    got = ours(PathFilters(bias=bias), [1], [], row)
    # transformers adds the biases in float32.
    np.testing.assert_allclose(got, judged([step], [1], row), rtol=1e-5)


@given(paths, st.lists(st.integers(0, V - 1), max_size=9), rows)
def test_presence_and_frequency_are_openais_formula(
    prompt: list[int], drawn: list[int], row: list[float]
) -> None:
    presence, frequency = 0.6, -0.4
    counts = Counter(drawn)  # not the prompt's
    mu = np.array(row, np.float64)
    for j in range(V):
        mu[j] = mu[j] - counts[j] * frequency - float(counts[j] > 0) * presence
    expected = np.exp(mu - mu.max()) / np.exp(mu - mu.max()).sum()
    filters = PathFilters(presence_penalty=presence, frequency_penalty=frequency)
    np.testing.assert_allclose(ours(filters, prompt, drawn, row)[0], expected, rtol=1e-9)


@given(paths, paths, rows)
def test_all_of_them_come_in_the_order_of_the_design(
    prompt: list[int], drawn: list[int], row: list[float]
) -> None:
    process = pytest.importorskip("transformers.generation.logits_process")
    steps = [
        process.SequenceBiasLogitsProcessor({(2,): 4.0, (4,): -4.0}),
        process.NoBadWordsLogitsProcessor([[5], [1, 2]]),
        process.RepetitionPenaltyLogitsProcessor(1.7),
    ]
    filters = PathFilters(
        bias={2: 4.0, 4: -4.0}, bans=((5,), (1, 2)), repetition_penalty=1.7, frequency_penalty=0.5
    )
    plain = judged(steps, prompt + drawn, row)[0]
    counts = Counter(drawn)
    expected = np.array([plain[j] * np.exp(-0.5 * counts[j]) for j in range(V)])
    got = ours(filters, prompt, drawn, row)[0]
    np.testing.assert_allclose(got, expected / expected.sum(), rtol=1e-5)


@given(paths, paths, st.integers(1, 3), sequences)
def test_a_history_made_at_once_equals_one_made_token_by_token(
    kept: list[int], drawn: list[int], n: int, bans: list[list[int]]
) -> None:
    filters = PathFilters(
        repetition_penalty=1.5,
        frequency_penalty=0.25,
        no_repeat_ngram=n,
        bans=tuple(map(tuple, bans)),
        texts=(BannedText(completing=[[1], [2, 3]], moves=[{0: 1}, {0: 1}]),),
        min_tokens=4,
        end_ids=(5,),
    )
    at_once = filters.start([*kept, *drawn], drawn_in_context=len(drawn), drawn=len(drawn))
    grown = filters.start(kept)
    for token in drawn:
        grown = filters.extended(grown, token)
    for one, other in zip(filters.edits([at_once]), filters.edits([grown]), strict=True):
        assert sorted(zip(one.ids, one.factors, one.addends, strict=True)) == sorted(
            zip(other.ids, other.factors, other.addends, strict=True)
        )
    assert at_once.drawn == grown.drawn == len(drawn)


def test_filters_that_are_off_say_so_and_make_no_edits() -> None:
    off = PathFilters(end_ids=(0,))
    assert not off.active
    assert off.edits([off.start([1, 2])]) == []
    some: list[dict[str, Any]] = [
        {"repetition_penalty": 1.1},
        {"presence_penalty": -1},
        {"bias": {1: 2.0}},
        {"min_tokens": 1},
        {"bans": ((1,),)},
        {"no_repeat_ngram": 2},
    ]
    for on in some:
        assert PathFilters(**on).active
