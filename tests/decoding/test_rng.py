from __future__ import annotations

import numpy as np
import pytest

from cpm_lm.decoding.rng import Independent, Stratified, uniform


@pytest.mark.parametrize("seed", [0, 1, 2021, 2**48 + 7, 2**64 - 1])
def test_every_number_equals_numpys_philox(seed: int) -> None:
    samples = np.array([0, 0, 1, 7, 299, 2**32 - 1, 2**40])
    steps = np.array([0, 1, 0, 63, 5, 2**33, 1023])
    expected = [
        np.random.Generator(np.random.Philox(key=seed, counter=[i, t, 0, 0])).random()
        for i, t in zip(samples.tolist(), steps.tolist(), strict=True)
    ]
    assert uniform(seed, samples, steps).tolist() == expected


def test_numbers_are_uniform_and_uncorrelated() -> None:
    samples, steps = (a.ravel() for a in np.meshgrid(np.arange(400), np.arange(50)))
    u = Independent(5).uniform(samples, steps)
    assert u.min() >= 0
    assert u.max() < 1
    counts = np.histogram(u, bins=20, range=(0, 1))[0]
    assert ((counts - 1000) ** 2 / 1000).sum() < 43.8  # chi-square, 19 degrees, p = 0.001
    grid = u.reshape(50, 400)
    assert abs(np.corrcoef(grid[:-1].ravel(), grid[1:].ravel())[0, 1]) < 0.03
    assert abs(np.corrcoef(grid[:, :-1].ravel(), grid[:, 1:].ravel())[0, 1]) < 0.03


def test_each_stratum_has_one_number() -> None:
    n = 40
    u = Stratified(3, n).uniform(np.arange(n), np.zeros(n, np.int64))
    assert (u * n).astype(int).tolist() == list(range(n))
    assert len(np.unique((u * n % 1).round(6))) == n, "each part has a shift of its own"


def test_a_stratified_number_is_rescaled_from_the_intervals_it_falls_into() -> None:
    draws = Stratified(3, 4)
    samples = np.arange(4)
    before = draws.uniform(samples, np.zeros(4, np.int64))
    low, high = np.floor(before * 2) / 2, np.floor(before * 2) / 2 + 0.5
    draws.rescale(samples, low, high)
    after = draws.uniform(samples, np.ones(4, np.int64))
    np.testing.assert_allclose(after, before * 2 % 1, atol=1e-15)


def test_a_number_with_few_bits_left_is_drawn_again() -> None:
    draws = Stratified(3, 2)
    only = np.array([1])
    u = draws.uniform(only, np.array([0]))
    draws.rescale(only, u - 2.0**-32, u + 2.0**-32)
    assert draws.uniform(only, np.array([5])) == uniform(3, only, np.array([5]))
    assert draws.uniform(only, np.array([6])) == uniform(3, only, np.array([5]))
