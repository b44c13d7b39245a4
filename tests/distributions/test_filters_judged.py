"""min-p, typical-p and edits of logits, judged by transformers' processors and by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from cpm_lm.distributions.draw import NO_TOKEN, distributions, draw, probabilities
from cpm_lm.distributions.edits import Edits
from cpm_lm.distributions.filters import typical
from cpm_lm.distributions.rules import Rules
from cpm_lm.errors import RequestError
from tests.support.fakes import log

FOUR = np.array([log(0.1, 0.4, 0.2, 0.3)], np.float32)
OFF: dict[str, Any] = {"temperature": 1.0, "top_p": 1.0}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        # 0.4 x 0.6 = 0.24
        ({"min_p": 0.6}, [0, 4 / 7, 0, 3 / 7]),
        ({"min_p": 1}, [0, 1, 0, 0]),
        ({"min_p": 0.2}, [0.1, 0.4, 0.2, 0.3]),
        # squared, 0.01, 0.16, 0.04, 0.09, of which 0.16 x 0.3 = 0.048; before: 0.4 x 0.3 = 0.12
        ({"min_p": 0.3, "temperature": 0.5}, [0, 16 / 25, 0, 9 / 25]),
        ({"min_p": 0.3, "temperature": 0.5, "filter_order": "cpm"}, [0, 16 / 29, 4 / 29, 9 / 29]),
        # entropy 1.280; surprises 2.303, 0.916, 1.609, 1.204: nearest 3, then 2, 1, 0
        ({"typical_p": 0.25}, [0, 0, 0, 1]),
        ({"typical_p": 0.45}, [0, 0, 2 / 5, 3 / 5]),
        ({"typical_p": 0.85}, [0, 4 / 9, 2 / 9, 3 / 9]),
        # top-k leaves 4/7 and 3/7: entropy 0.683, surprises 0.560 and 0.847
        ({"top_k": 2, "typical_p": 0.5}, [0, 1, 0, 0]),
    ],
)
def test_filters_worked_out_by_hand(options: dict[str, Any], expected: list[float]) -> None:
    got = probabilities(FOUR, Rules(**{**OFF, **options}))[0]
    np.testing.assert_allclose(got, expected, atol=1e-7)


rows = st.lists(st.floats(-12, 12, width=32), min_size=2, max_size=50)
shares = st.sampled_from([0.02, 0.2, 0.5, 0.8, 0.95])


@given(rows, st.sampled_from([0.5, 1.0, 1.7]), shares, shares, st.integers(0, 12), shares)
def test_all_filters_together_equal_those_of_transformers(
    row: list[float], temperature: float, min_p: float, typical_p: float, k: int, p: float
) -> None:
    torch = pytest.importorskip("torch")
    process = pytest.importorskip("transformers.generation.logits_process")
    # transformers keeps ties at the edges of top-k and top-p, and rounds otherwise.
    assume(np.diff(np.sort(np.array(row))).min() > 1e-6)
    logits = np.array([row], np.float32)
    scores = torch.tensor(logits, dtype=torch.float64)
    steps = [process.TemperatureLogitsWarper(float(temperature))]
    steps += [process.TopKLogitsWarper(k)] if k else []
    steps += [process.TopPLogitsWarper(p), process.MinPLogitsWarper(min_p)]
    steps += [process.TypicalLogitsWarper(typical_p)]
    for step in steps:
        scores = step(None, scores)
        assume(no_edge(scores, [p, min_p, typical_p]))
    rules = Rules(temperature=temperature, top_k=k, top_p=p, min_p=min_p, typical_p=typical_p)
    expected = torch.softmax(scores, -1).numpy()
    got = probabilities(logits, rules)
    assert ((got > 0) == (expected > 0)).all()
    np.testing.assert_allclose(got, expected, rtol=1e-9)


def no_edge(scores: Any, thresholds: list[float]) -> bool:
    """Return whether no sum or ratio is within rounding of a threshold."""
    masses = np.sort(np.exp(scores[0].numpy() - scores.max().item()))[::-1]
    ratios = np.concatenate([masses, np.cumsum(masses) / masses.sum(), 1 - np.cumsum(masses)])
    return not np.isclose(ratios[:, None], [thresholds], rtol=1e-9).any()


@given(rows, shares)
def test_typical_keeps_what_transformers_keeps_ties_included(row: list[float], p: float) -> None:
    torch = pytest.importorskip("torch")
    process = pytest.importorskip("transformers.generation.logits_process")
    logits = torch.tensor([row], dtype=torch.float64)
    kept = process.TypicalLogitsWarper(p)(None, logits)[0] > -np.inf
    weights = np.exp(np.array(row) - max(row))
    got = typical(weights, p)
    share = np.cumsum(np.sort(weights)) / weights.sum()
    assert got.tolist() == kept.tolist() or np.isclose(share, p, atol=1e-9).any() or near(weights)


def near(weights: np.ndarray) -> bool:
    """Return whether two tokens are as far from the entropy, up to rounding."""
    share = weights / weights.sum()
    distance = np.sort(np.abs(-np.log(share) + (share * np.log(share)).sum()))
    return bool((np.diff(distance) < 1e-9).any())


edit_lists = st.lists(
    st.tuples(
        st.integers(0, 3),
        st.integers(0, 5),
        st.sampled_from([0.5, 1.0, 1.3]),
        st.sampled_from([-np.inf, -2.0, 0.0, 1.5]),
    ),
    max_size=12,
    unique_by=lambda entry: entry[:2],
)


@given(st.lists(edit_lists, max_size=3), st.booleans())
def test_edits_are_applied_one_after_the_other(
    layers: list[list[Any]], several_rules: bool
) -> None:
    logits = np.random.default_rng(3).standard_normal((4, 6)).astype(np.float32)
    dense = logits.astype(np.float64)
    edits = []
    for layer in layers:
        for row, token, factor, addend in layer:
            old = dense[row, token]
            dense[row, token] = (old / factor if old > 0 else old * factor) + addend
        columns = list(zip(*sorted(layer), strict=True)) or [(), (), (), ()]
        edits.append(Edits.of(*columns))
    rules = [Rules(**OFF)] * 4
    if several_rules:
        rules = [Rules(**OFF), *rules[1:]]
    u = [np.linspace(0, 0.999, 7)] * 4
    drawn = draw(logits, rules, u, edits)
    for row in range(4):
        tokens = drawn.tokens[7 * row : 7 * row + 7]
        if not np.isfinite(dense[row]).any():
            assert (tokens == NO_TOKEN).all()
            continue
        masses = np.exp(dense[row] - dense[row].max())
        edges = np.cumsum(masses / masses.sum())
        assert tokens.tolist() == [int(np.searchsorted(edges, x, "right")) for x in u[0]]
    # A part of the rows has the edits of these rows.
    some = np.array([3, 1])
    parts = [each.part(some) for each in edits]
    again = distributions(logits[some], Rules(**OFF), parts)
    whole = distributions(logits, Rules(**OFF), edits)
    for one, other in zip(again, [whole[3], whole[1]], strict=True):
        np.testing.assert_array_equal(one.masses, other.masses)


def test_a_row_without_a_token_left_draws_none_and_leaves_the_others_alone() -> None:
    logits = np.concatenate([FOUR, FOUR])
    banned = Edits.of([0] * 4, range(4), [1.0] * 4, [-np.inf] * 4)
    for options in ({}, {"temperature": 0}, {"top_k": 2, "typical_p": 0.5}, {"min_p": 0.5}):
        rules = [Rules(**{**OFF, **options})] * 2
        drawn = draw(logits, rules, [np.array([0.3]), np.array([0.3])], [banned])
        alone = draw(FOUR, rules[:1], [np.array([0.3])])
        assert drawn.tokens.tolist() == [NO_TOKEN, alone.tokens[0]]
        assert (drawn.low[0], drawn.high[0], drawn.logprobs[0]) == (0, 1, 0)
        assert drawn.logprobs[1] == alone.logprobs[0], "it is that of the model itself"


@pytest.mark.parametrize(
    ("name", "value"), [("min_p", -0.1), ("min_p", 1.1), ("typical_p", 0), ("typical_p", 2)]
)
def test_values_out_of_range_are_refused(name: str, value: float) -> None:
    with pytest.raises(RequestError, match=f"{name} is .*; expected"):
        Rules(**{name: value})  # type: ignore[arg-type]
