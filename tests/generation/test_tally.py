from __future__ import annotations

import time
from fractions import Fraction

import pytest

from cpm_lm.generation.tally import posterior_lead, tally, wilson


def test_a_tally_is_sorted_by_count_then_by_first_sample() -> None:
    found = tally(["b", "a", None, "a", "b", "c"], independent=False)
    assert [(t.answer, t.count, t.low) for t in found] == [
        ("b", 2, None),
        ("a", 2, None),
        ("c", 1, None),
    ]
    assert [t.share for t in found] == [2 / 6, 2 / 6, 1 / 6]
    assert tally([None, None], independent=True) == []
    [only] = tally(["x"] * 10, independent=True)
    assert (only.low, only.high) == wilson(10, 10)


@pytest.mark.parametrize(
    ("count", "n", "low", "high"),
    [(5, 10, 0.2366, 0.7634), (0, 10, 0, 0.2775), (10, 10, 0.7225, 1), (81, 263, 0.2553, 0.3662)],
)
def test_wilson_equals_published_intervals(count: int, n: int, low: float, high: float) -> None:
    assert wilson(count, n) == pytest.approx((low, high), abs=5e-5)


def test_the_posterior_lead_equals_the_beta_tail() -> None:
    assert posterior_lead(0, 0) == 0.5
    assert posterior_lead(7, 7) == 0.5
    assert posterior_lead(1, 0) == 0.75  # the integral of 2x from 1/2 to 1
    assert posterior_lead(3, 0) == 1 - 1 / 16
    assert posterior_lead(2, 9) == pytest.approx(1 - posterior_lead(9, 2))
    steps = 20_000  # of the midpoint rule
    xs = [(i + 0.5) / steps for i in range(steps)]
    beta = [x**6 * (1 - x) ** 4 for x in xs]
    assert posterior_lead(6, 4) == pytest.approx(sum(beta[steps // 2 :]) / sum(beta), abs=1e-6)


def exact_lead(first: int, second: int) -> Fraction:
    """The same tail in whole numbers: the sum of binomial coefficients over a power of two."""
    coins = first + second + 1
    ways = total = 1
    for j in range(first):
        ways = ways * (coins - j) // (j + 1)
        total += ways
    return Fraction(total, 2**coins)


LARGE = [
    *((first, first - apart) for first in (700, 8000) for apart in (0, 1, 10, 99, 400)),
    *((a, b) for a in (0, 1, 2, 15, 16, 17, 511, 512, 513) for b in (508, 512, 1023, 3000)),
    (20_000, 19_700),
]


@pytest.mark.long
def test_the_posterior_lead_is_the_exact_sum() -> None:
    small = [(first, second) for first in range(61) for second in range(61)]
    for first, second in [*small, *LARGE, *((b, a) for a, b in LARGE)]:
        found, exact = posterior_lead(first, second), exact_lead(first, second)
        assert abs(Fraction(found) - exact) < 1e-12, (first, second)
        # What is near 0 must be near it by its own measure: 1 - 1e-12 may be asked for.
        assert abs(Fraction(posterior_lead(second, first)) - (1 - exact)) <= 1e-12 * (1 - exact) + (
            1e-16
        ), (first, second)


def test_a_tie_leads_by_nothing_at_any_size() -> None:
    for count in (0, 1, 511, 512, 513, 100_000, 500_000):
        assert posterior_lead(count, count) == 0.5


def test_the_stopping_rule_takes_no_time() -> None:
    # Each binomial coefficient was computed anew: 36 s.
    start = time.process_time()
    assert 0.5 < posterior_lead(8_000, 7_990) < 0.6
    assert 0.5 < posterior_lead(500_000, 499_900) < 0.6
    assert time.process_time() - start < 1
