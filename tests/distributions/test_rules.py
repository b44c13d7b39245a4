from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cpm_lm.choices import FilterOrder
from cpm_lm.distributions.draw import distributions, draw, log_partition, probabilities, score
from cpm_lm.distributions.filters import nucleus, top_k
from cpm_lm.distributions.rules import Rules
from cpm_lm.errors import EngineError, RequestError
from tests.support.examples import examples
from tests.support.fakes import log

FOUR = np.array([log(0.1, 0.4, 0.2, 0.3)], np.float32)
OFF: dict[str, Any] = {"temperature": 1.0, "top_p": 1.0}


def masses(logits: np.ndarray = FOUR, **options: Any) -> list[float]:
    return probabilities(logits, Rules(**{**OFF, **options}))[0].tolist()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [0.1, 0.4, 0.2, 0.3]),
        # squared, over their sum 0.3
        ({"temperature": 0.5}, [1 / 30, 16 / 30, 4 / 30, 9 / 30]),
        ({"temperature": 0}, [0, 1, 0, 0]),
        ({"top_k": 2}, [0, 4 / 7, 0, 3 / 7]),
        ({"top_k": 1}, [0, 1, 0, 0]),
        ({"top_k": 9}, [0.1, 0.4, 0.2, 0.3]),
        # 0.4, 0.7, 0.9: the one that crosses is included
        ({"top_p": 0.75}, [0, 4 / 9, 2 / 9, 3 / 9]),
        ({"top_p": 0.65}, [0, 4 / 7, 0, 3 / 7]),
        ({"top_p": 1e-9}, [0, 1, 0, 0]),
        ({"top_p": 0.95}, [0.1, 0.4, 0.2, 0.3]),
        # top-p looks at what top-k left: 4/9, 7/9
        ({"top_k": 3, "top_p": 0.75}, [0, 4 / 7, 0, 3 / 7]),
        # shares after the temperature: 16/30, 25/30, 29/30; before: 0.4, 0.7, 0.9
        ({"temperature": 0.5, "top_p": 0.8}, [0, 16 / 25, 0, 9 / 25]),
        ({"temperature": 0.5, "top_p": 0.8, "filter_order": "cpm"}, [0, 16 / 29, 4 / 29, 9 / 29]),
        ({"temperature": 0.5, "top_k": 2, "filter_order": "cpm"}, [0, 16 / 25, 0, 9 / 25]),
        ({"temperature": 0.5, "filter_order": "cpm"}, [1 / 30, 16 / 30, 4 / 30, 9 / 30]),
    ],
)
def test_distributions_worked_out_by_hand(options: dict[str, Any], expected: list[float]) -> None:
    np.testing.assert_allclose(masses(**options), expected, atol=1e-7)


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ({"top_k": 2}, [1, 2]),
        ({"top_k": 3}, [1, 2, 3]),
        ({"top_p": 0.3}, [1]),  # three of 2/7, one of 1/7
        ({"top_p": 0.5}, [1, 2]),
        ({"top_p": 0.8}, [1, 2, 3]),
        ({"temperature": 0}, [1]),
    ],
)
def test_ties_are_kept_from_the_lowest_id(options: dict[str, object], kept: list[int]) -> None:
    equal = np.array([[0.0, 1.0, 1.0, 1.0]], np.float32)
    if "top_p" in options:
        equal *= np.float32(np.log(2))
        options = {"top_p": {0.3: 0.2, 0.5: 0.5, 0.8: 0.8}[float(options["top_p"])]}  # type: ignore[arg-type]
    assert np.flatnonzero(masses(equal, **options)).tolist() == kept


logits = st.lists(st.floats(-30, 30, width=32), min_size=1, max_size=60)
temperature = st.sampled_from([0, 1e-300, 0.3, 1.0, 7.0])
p_values = st.sampled_from([1e-9, 0.1, 0.5, 0.9, 0.999999])


@given(
    logits,
    temperature,
    p_values | st.just(1.0),
    st.integers(0, 70),
    st.sampled_from(["standard", "cpm"]),
)
@settings(max_examples=examples(200), deadline=None)
def test_masses_sum_to_one(
    row: list[float], t: float, p: float, k: int, order: FilterOrder
) -> None:
    got = probabilities(
        np.array([row], np.float32), Rules(temperature=t, top_p=p, top_k=k, filter_order=order)
    )
    assert got.dtype == np.float64
    assert (got >= 0).all()
    assert abs(got.sum() - 1) < 1e-12


@given(logits, p_values)
@settings(max_examples=examples(200), deadline=None)
def test_the_nucleus_equals_that_of_a_full_sort(row: list[float], p: float) -> None:
    x = np.array(row, np.float32)
    weights = np.exp(x.astype(np.float64) - x.max())
    order = np.argsort(-weights, kind="stable")
    share = np.cumsum(weights[order]) / weights.sum()
    expected = set(order[: int((share < p).sum()) + 1].tolist())
    got = set(distributions(x[None], Rules(temperature=1, top_p=p))[0].tokens.tolist())
    # A share within rounding error of p may be on either side.
    assert got == expected or np.isclose(share, p, atol=1e-12).any()


@pytest.mark.parametrize("size", [65, 300, 5000])
@pytest.mark.parametrize("spread", [0.0, 0.1, 1.0, 20.0])
@pytest.mark.parametrize("decimals", [0, 6])
def test_filters_of_large_rows_equal_those_of_a_full_sort(
    size: int, spread: float, decimals: int
) -> None:
    x = (spread * np.random.default_rng(size).standard_normal(size)).round(decimals)
    x = x.astype(np.float32)  # rounded to integers, most have equals
    weights = np.exp(x.astype(np.float64) - x.max())
    order = np.argsort(-x, kind="stable")
    share = np.cumsum(weights[order]) / weights.sum()
    # Rounding puts the mean of these below all of them.
    assert len(top_k(np.full(size, 0.1, np.float32), 3)) == 3
    for k in (1, 2, 64, size - 1):
        assert top_k(x, k).tolist() == sorted(order[:k].tolist())
    for p in (0.00123, 0.3123, 0.9123, 0.9999123):  # no share is within rounding error of these
        count = int((share < p).sum()) + 1
        assert nucleus(weights, p).tolist() == sorted(order[:count].tolist())


def test_rows_do_not_influence_each_other() -> None:
    many = np.random.default_rng(0).standard_normal((7, 50_000)).astype(np.float32)
    rules = Rules(top_p=0.5, top_k=1000)
    whole = probabilities(many, rules)
    for i in range(len(many)):
        np.testing.assert_array_equal(whole[i], probabilities(many[i : i + 1], rules)[0])


def test_the_inverse_cdf_is_by_ascending_id() -> None:
    [four] = distributions(np.array([log(0.25, 0.5, 0, 0.25)], np.float32), Rules(**OFF))
    u = np.array([0, 0.2499, 0.2501, 0.7499, 0.7501, 1 - 2**-53])
    tokens, low, high = four.invert(u)
    assert tokens.tolist() == [0, 0, 1, 1, 3, 3]
    np.testing.assert_allclose(low, [0, 0, 0.25, 0.25, 0.75, 0.75], atol=1e-7)
    np.testing.assert_allclose(high, [0.25, 0.25, 0.75, 0.75, 1, 1], atol=1e-7)


def test_log_partition_is_exact_for_large_logits() -> None:
    rows = np.array([[1000.0, 1000.0], [-1000.0, -2000.0]], np.float32)
    np.testing.assert_allclose(log_partition(rows), [1000 + np.log(2), -1000], rtol=1e-15)


RULES: list[dict[str, object]] = [
    {},
    {"temperature": 0},
    {"top_k": 2},
    {"top_p": 0.5},
    {"filter_order": "cpm", "temperature": 0.5, "top_k": 1},
]


def drawing(options: dict[str, object]) -> Callable[[np.ndarray], object]:
    rules = Rules(**{**OFF, **options})
    return lambda rows: draw(rows, [rules] * len(rows), [np.array([0.5])] * len(rows))


def distributing(options: dict[str, object]) -> Callable[[np.ndarray], object]:
    rules = Rules(**{**OFF, **options})
    return lambda rows: distributions(rows, rules)


# What each use of logits makes of them; an exact vote used `distributions`, which did not look.
USES: dict[str, Callable[[np.ndarray], object]] = {
    "log_partition": log_partition,
    "score": lambda rows: score(rows, [np.zeros(1, np.int32)] * len(rows), top=1),
    **{f"draw {options}": drawing(options) for options in RULES},
    **{f"distributions {options}": distributing(options) for options in RULES},
}
FINE = [0.0, 1.0, -np.inf, 2.0]


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize(
    "bad",
    [
        [0, np.nan, 1, 2],
        [np.nan] * 4,
        [np.inf, 0, 1, 2],
        [np.inf, np.nan, -np.inf, 0],
        [-np.inf, np.nan, 0, 1],
        [-np.inf] * 4,
    ],
)
@pytest.mark.parametrize("at", [0, 1])
def test_logits_that_are_no_distribution_are_an_error_wherever_they_are_used(
    use: str, bad: list[float], at: int
) -> None:
    rows = [FINE]
    rows.insert(at, bad)
    with pytest.raises(EngineError, match="not finite"):
        USES[use](np.array(rows, np.float32))


@pytest.mark.parametrize("use", USES)
def test_a_token_that_cannot_come_is_no_error(use: str) -> None:
    USES[use](np.array([FINE, FINE], np.float32))
    rules = [Rules(**{**OFF, **options}) for options in ({}, {"top_k": 4}, {"top_p": 0.99})]
    for each in rules:
        masses = probabilities(np.array([FINE], np.float32), each)[0]
        assert masses[2] == 0
        assert masses.sum() == pytest.approx(1)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", -0.1),
        ("temperature", float("nan")),
        ("temperature", float("inf")),
        ("top_p", 0.0),
        ("top_p", 1.1),
        ("top_k", -1),
        ("filter_order", "random"),
    ],
)
def test_bad_options_are_refused_with_the_range(name: str, value: object) -> None:
    with pytest.raises(RequestError, match=f"{name} is .*; expected"):
        Rules(**{name: value})  # type: ignore[arg-type]
