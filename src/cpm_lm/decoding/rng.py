"""The random numbers of the draws: a uniform number in [0, 1) per sample and step.

Knows seeds, sample numbers and steps; does not know tokens, models or text.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np

from cpm_lm.shapes import Float64, Int64, UInt64

__all__ = ["Independent", "Stratified", "UniformSource", "uniform"]

MIN_WIDTH = 2.0**-30
"""A stratified number is drawn again below this width: only 23 of its 53 bits are left."""
BELOW_ONE = 1 - 2.0**-53
"""The greatest float64 below 1."""

Words = UInt64[np.ndarray, " K"]

# Philox4x64-10: J. Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011, table 2.
ROUNDS = 10
MULTIPLIERS = (0xD2E7470EE14C6C93, 0xCA5A826395121157)
WEYL = (0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B)
LOW_HALF = np.uint64(0xFFFFFFFF)
HALF_BITS = np.uint64(32)


@runtime_checkable
class UniformSource(Protocol):
    """A source of the uniform numbers by which tokens are drawn."""

    def uniform(
        self, samples: Int64[np.ndarray, " K"], steps: Int64[np.ndarray, " K"]
    ) -> Float64[np.ndarray, " K"]:
        """Return for each sample the uniform number in [0, 1) that draws its token `steps`."""

    def rescale(
        self,
        samples: Int64[np.ndarray, " K"],
        low: Float64[np.ndarray, " K"],
        high: Float64[np.ndarray, " K"],
    ) -> None:
        """Receive the interval [low, high) of the token that each sample's number drew."""


class Independent:
    """Independent draws: u(seed, i, t) for token t of sample i.

    Args:
        seed: 0 to 2^64-1.
        first: the number i of the first sample, if a call draws only a part of the samples.
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
        """Do nothing: the numbers are independent."""


class Stratified:
    """Stratified draws: each sample has one number for its whole text, one per 1/n of [0, 1).

    The number u_i = (i + xi_i) / n is rescaled from the interval of each token that it draws, so
    the samples are spread evenly over the distribution of texts. Shares are unbiased, and their
    variance is at most that of independent draws. Here sample i depends on n.

    Args:
        seed: 0 to 2^64-1.
        n: the number of samples.

    Source: "Arithmetic Sampling", arXiv 2210.15458, but with a xi_i for each part: one shift
    common to all parts can be far worse than independent draws where probabilities repeat with
    period 1/n.
    """

    def __init__(self, seed: int, n: int) -> None:
        self.seed = seed
        parts = np.arange(n)
        self._u = (parts + uniform(seed, parts, np.zeros_like(parts))) / n
        self._width = np.ones(n)

    def uniform(
        self, samples: Int64[np.ndarray, " K"], steps: Int64[np.ndarray, " K"]
    ) -> Float64[np.ndarray, " K"]:
        """Return the samples' numbers; those with too few random bits left are drawn again."""
        exhausted = self._width[samples] < MIN_WIDTH
        redrawn = samples[exhausted]
        self._u[redrawn] = uniform(self.seed, redrawn, steps[exhausted])
        self._width[redrawn] = 1
        return self._u[samples]

    def rescale(
        self,
        samples: Int64[np.ndarray, " K"],
        low: Float64[np.ndarray, " K"],
        high: Float64[np.ndarray, " K"],
    ) -> None:
        """Rescale each number from its interval [low, high) to [0, 1) for the next token."""
        rescaled = (self._u[samples] - low) / (high - low)
        self._u[samples] = np.minimum(rescaled, BELOW_ONE)
        self._width[samples] *= high - low


def uniform(
    seed: int, samples: Int64[np.ndarray, " K"], steps: Int64[np.ndarray, " K"]
) -> Float64[np.ndarray, " K"]:
    """Return u(seed, i, t) in [0, 1) for token t of sample i, both from 0.

    Philox is a counter-based generator: the two counters i and t select the number, so no draw
    depends on the draws before it. numpy gives the same number, so anybody can repeat a draw:

    >>> float(uniform(2021, np.array([7]), np.array([3]))[0])
    0.8887930913975928
    >>> np.random.Generator(np.random.Philox(key=2021, counter=[7, 3, 0, 0])).random()
    0.8887930913975928
    """
    # numpy increments the counter before it generates the first block.
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
    """Return the high and the low 64 bits of the 128-bit product, by products of 32-bit halves."""
    b_low, b_high = np.uint64(factor & 0xFFFFFFFF), np.uint64(factor >> 32)
    a_low, a_high = a & LOW_HALF, a >> HALF_BITS
    cross = a_high * b_low + (a_low * b_low >> HALF_BITS)
    carry = a_low * b_high + (cross & LOW_HALF)
    high = a_high * b_high + (cross >> HALF_BITS) + (carry >> HALF_BITS)
    return high, a * np.uint64(factor)
