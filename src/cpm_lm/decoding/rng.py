"""Where the randomness of a draw comes from: a number of [0, 1) for each sample at each step.

Knows seeds, sample numbers and steps; does not know tokens, models or text.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float64, Int64, UInt64

__all__ = ["Independent", "Stratified", "UniformSource", "uniform"]

MIN_WIDTH = 2.0**-30
"""A number whose interval is smaller than this is drawn anew: 23 of its 53 bits are left."""
LAST = 1 - 2.0**-53
"""The greatest float64 below 1."""

Words = UInt64[np.ndarray, " K"]

# Philox4x64-10: J. Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011, table 2.
ROUNDS = 10
MULTIPLIERS = (0xD2E7470EE14C6C93, 0xCA5A826395121157)
WEYL = (0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B)
LOW = np.uint64(0xFFFFFFFF)
HALF = np.uint64(32)


@runtime_checkable
class UniformSource(Protocol):
    """How samples get the numbers that their tokens are drawn by."""

    def uniform(
        self, samples: Int64[np.ndarray, " K"], steps: Int64[np.ndarray, " K"]
    ) -> Float64[np.ndarray, " K"]:
        """Return for each sample the number of [0, 1) that decides its token number `steps`."""

    def rescale(
        self,
        samples: Int64[np.ndarray, " K"],
        low: Float64[np.ndarray, " K"],
        high: Float64[np.ndarray, " K"],
    ) -> None:
        """Note the interval [low, high) of [0, 1) that each sample's number fell into."""


class Independent:
    """Every draw is independent of all others: u(seed, i, t).

    Args:
        seed: 0 to 2^64-1.
        first: the number i of the first sample, where a call draws but a part of them.
    """

    def __init__(self, seed: int, *, first: int = 0) -> None:
        self.seed = seed
        self.first = first

    def uniform(
        self, samples: Int64[np.ndarray, " K"], steps: Int64[np.ndarray, " K"]
    ) -> Float64[np.ndarray, " K"]:
        """Return u(seed, first + samples, steps)."""
        return uniform(self.seed, samples + self.first, steps)

    def rescale(
        self,
        samples: Int64[np.ndarray, " K"],
        low: Float64[np.ndarray, " K"],
        high: Float64[np.ndarray, " K"],
    ) -> None:
        """Do nothing: numbers do not depend on each other."""


class Stratified:
    """Every sample has one number for its whole text, one of each of n equal parts of [0, 1).

    The number, u_i = (i + xi_i) / n, is rescaled from the interval of every token it chooses, so
    that samples spread over the distribution of texts as evenly as they can. Shares are unbiased
    and never noisier than those of independent draws; here sample i does depend on n.

    Args:
        seed: 0 to 2^64-1.
        n: how many samples there are.

    Source: "Arithmetic Sampling", arXiv 2210.15458, but with a xi for each part: one shift common
    to all can be far worse than independent draws where probabilities repeat with period 1/n.
    """

    def __init__(self, seed: int, n: int) -> None:
        self.seed = seed
        parts = np.arange(n)
        self._u = (parts + uniform(seed, parts, np.zeros_like(parts))) / n
        self._width = np.ones(n)

    def uniform(
        self, samples: Int64[np.ndarray, " K"], steps: Int64[np.ndarray, " K"]
    ) -> Float64[np.ndarray, " K"]:
        """Return the samples' numbers, drawn anew where too few of their bits are left."""
        worn = self._width[samples] < MIN_WIDTH
        again = samples[worn]
        self._u[again] = uniform(self.seed, again, steps[worn])
        self._width[again] = 1
        return self._u[samples]

    def rescale(
        self,
        samples: Int64[np.ndarray, " K"],
        low: Float64[np.ndarray, " K"],
        high: Float64[np.ndarray, " K"],
    ) -> None:
        """Rescale each number from its interval to [0, 1), for the next token."""
        inside = (self._u[samples] - low) / (high - low)
        self._u[samples] = np.minimum(inside, LAST)
        self._width[samples] *= high - low


def uniform(
    seed: int, samples: Int64[np.ndarray, " K"], steps: Int64[np.ndarray, " K"]
) -> Float64[np.ndarray, " K"]:
    """Return u(seed, i, t) in [0, 1) for sample i's token number t, both from 0.

    It is the first number of `numpy.random.Generator(Philox(key=seed, counter=[i, t, 0, 0]))`,
    so that anybody can repeat a draw.
    """
    # numpy counts up by one before the first block.
    words = _philox(seed, samples.astype(np.uint64) + np.uint64(1), steps.astype(np.uint64))
    return (words >> np.uint64(11)) * 2.0**-53


def _philox(seed: int, c0: Words, c1: Words) -> Words:
    """Return the first word of Philox4x64-10 at counter (c0, c1, 0, 0), key (seed, 0)."""
    c2, c3 = np.zeros_like(c0), np.zeros_like(c0)
    key = [seed, 0]
    for _ in range(ROUNDS):
        high0, low0 = _multiply(c0, MULTIPLIERS[0])
        high1, low1 = _multiply(c2, MULTIPLIERS[1])
        k0, k1 = np.uint64(key[0]), np.uint64(key[1])
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        key = [(k + w) % 2**64 for k, w in zip(key, WEYL, strict=True)]
    return c0


def _multiply(a: Words, factor: int) -> tuple[Words, Words]:
    """Return the high and the low 64 bits of a product of 128, through halves of 32 bits."""
    b_low, b_high = np.uint64(factor & 0xFFFFFFFF), np.uint64(factor >> 32)
    a_low, a_high = a & LOW, a >> HALF
    cross = a_high * b_low + (a_low * b_low >> HALF)
    carry = a_low * b_high + (cross & LOW)
    return a_high * b_high + (cross >> HALF) + (carry >> HALF), a * np.uint64(factor)
