import numpy as np
import pytest

from recipes.demo.evaluate import ratio
from recipes.demo.kneser_ney import KneserNey


@pytest.mark.parametrize("context", [(0, 1), (4, 4), (2, 3)])
def test_probabilities_sum_to_one_after_contexts_seen_and_not(context):
    ids = np.random.default_rng(0).zipf(1.5, 3_000) % 4
    model = KneserNey(ids, 5, 3)
    masses = [model.probabilities(np.array([*context, c]))[0] for c in range(5)]
    assert sum(masses) == pytest.approx(1)
    assert min(masses) > 0


def test_bigrams_worked_out_by_hand():
    # 0 1 0 1 0 2 0 1: the pairs 01 x 3, 10 x 2, 02 x 1, 20 x 1.
    model = KneserNey(np.array([0, 1, 0, 1, 0, 2, 0, 1]), 3, 2)
    # n1 = 2, n2 = 1, n3 = 1, n4 = 0 (taken as 1): y = 1/2, discounts 1/2, 1/2, 1.
    # Characters before each: 0 after {1, 2}, 1 after {0}, 2 after {0}.
    # n1 = 2, n2 = 1, n3 and n4 taken as 1: discounts 1/2 and 1/2; 3/2 is split in three.
    lower = (np.array([1.5, 0.5, 0.5]) + 1.5 / 3) / 4
    # After 0: counts 3 and 1 of 4, discounted to 2 and 1/2; 3/2 goes to the lower order.
    expected = (np.array([0, 2, 0.5]) + 1.5 * lower) / 4
    found = [model.probabilities(np.array([0, c]))[0] for c in range(3)]
    assert found == pytest.approx(expected)


def test_regular_text_is_predicted():
    ids = np.tile(np.arange(7), 200)
    assert KneserNey(ids, 8).probabilities(ids[:50]).min() > 0.9


def test_a_ratio_and_its_error():
    mean, error = ratio([(2.0, 1), (4.0, 3)])
    assert mean == 1.5
    assert error == pytest.approx(np.sqrt(0.5) / 4)
