"""Tests and errors of means, against scipy's where there is one, else against the definition."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpm_lm.evaluation.statistics import (
    exact_match,
    f1,
    mcnemar,
    paired_bootstrap,
    standard_error,
)


@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_is_the_exact_binomial_test(first: int, second: int) -> None:
    stats = pytest.importorskip("scipy.stats")
    n = first + second
    expected = stats.binomtest(min(first, second), n, 0.5).pvalue if n else 1.0
    assert mcnemar(first, second) == pytest.approx(expected)


def test_standard_error() -> None:
    assert standard_error([1.0]) is None
    assert standard_error([0.0, 1.0, 1.0, 1.0]) == pytest.approx(math.sqrt(0.75 * 0.25 / 3))


def test_the_bootstrap_covers_the_difference() -> None:
    rng = np.random.default_rng(0)
    one = rng.random(400)
    two = one + rng.normal(0.1, 0.2, 400)
    low, high = paired_bootstrap(one.tolist(), two.tolist(), seed=0)
    mean = float(np.mean(two - one))
    error = float(np.std(two - one, ddof=1)) / 20
    assert low == pytest.approx(mean - 1.96 * error, abs=0.3 * error)
    assert high == pytest.approx(mean + 1.96 * error, abs=0.3 * error)
    assert (low, high) == paired_bootstrap(one.tolist(), two.tolist(), seed=0)


@pytest.mark.parametrize(
    ("found", "answers", "match", "score"),
    [
        ("北京", ["北京"], 1, 1),
        ("“北京”。", ["北京"], 1, 1),
        ("北京市", ["北京"], 0, 0.8),
        ("京北", ["北京"], 0, 0.5),  # the longest common run is one character
        ("上海", ["北京", "上海"], 1, 1),
        ("", ["北京"], 0, 0),
        ("1998", ["1998年"], 0, 2 / 3),
        ("ＣＰＭ", ["cpm"], 1, 1),
    ],
)
def test_texts(found: str, answers: list[str], match: float, score: float) -> None:
    assert exact_match(found, answers) == match
    assert f1(found, answers) == pytest.approx(score)
