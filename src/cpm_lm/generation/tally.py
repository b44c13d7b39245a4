"""The tally of answers: counts, shares and their confidence intervals.

Knows answers and counts; does not know models, tokens or how the texts were drawn.

The tie rule: of answers with equal counts, the one drawn first wins.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from cpm_lm.display import Row, on_a_line, quoted

__all__ = ["AnswerShare", "posterior_lead", "tally", "wilson"]

EXACT_COINS = 1024
"""Up to here binomial coefficients are added as whole numbers, in microseconds."""


@dataclass(frozen=True, kw_only=True)
class AnswerShare:
    """One answer and its share of the vote."""

    answer: str
    share: float
    """The share of all samples, including those without an answer; in an exact vote, the
    probability found."""
    count: int | None = None
    """The number of samples with this answer; None in an exact vote."""
    low: float | None = None
    """The lower end of the share's 95% interval, or None if there is no valid interval; in an exact
    vote, the lower bound of the probability."""
    high: float | None = None
    """The upper end or bound."""
    among_choices: float | None = None
    """In a vote among choices, the answer's share of the probability of all choices."""

    @property
    def percent(self) -> str:
        """The share, and its interval or bounds if it has them."""
        if self.low is None or self.high is None or self.low == self.high:
            return f"{self.share:.1%}"
        return f"{self.share:.1%} ({self.low:.1%} to {self.high:.1%})"

    def __repr__(self) -> str:
        """Return the answer and its share on one line."""
        counted = [] if self.count is None else [f"{self.count} texts"]
        return on_a_line("AnswerShare", [quoted(self.answer), self.percent, *counted])

    def _row(self) -> Row:
        return self.answer, self.share, self.percent


def tally(answers: Sequence[str | None], *, independent: bool) -> list[AnswerShare]:
    """Count answers; the winner comes first.

    Args:
        answers: in the order in which the samples were drawn; None for a sample without an answer.
        independent: whether the samples are independent and their number was fixed in advance.
            Only then do shares have intervals. Stratified samples have less noise than the formula
            for independent ones says, and stopping early biases the leader's share.
    """
    counts = Counter(answer for answer in answers if answer is not None)
    result = []
    for answer, count in counts.most_common():  # of equal counts, the first drawn first
        low, high = wilson(count, len(answers)) if independent else (None, None)
        share = count / len(answers)
        result.append(AnswerShare(answer=answer, count=count, share=share, low=low, high=high))
    return result


def wilson(count: int, n: int, z: float = 1.959964) -> tuple[float, float]:
    """Return Wilson's interval for a share of n independent samples, 95% by default.

    Source: E. B. Wilson, "Probable inference, the law of succession, and statistical inference",
    1927.
    """
    share, spread = count / n, z * z / n
    center = share + spread / 2
    half_width = z * math.sqrt(share * (1 - share) / n + spread / (4 * n))
    low, high = ((center + side * half_width) / (1 + spread) for side in (-1, 1))
    return (0.0 if count == 0 else low), (1.0 if count == n else high)


def posterior_lead(first: int, second: int) -> float:
    """Return the posterior probability that the first of two answers is the likelier one.

    The prior is uniform. Source: the Beta criterion of "Let's Sample Step by Step: Adaptive-
    Consistency", arXiv 2305.11860, which compares the two most frequent answers.
    """
    if first == second:
        return 0.5
    # With a, b = first + 1, second + 1, P(Beta(a, b) > 1/2) is a tail of the binomial
    # distribution of a + b - 1 fair coins.
    tail = _fair_tail(first + second + 1, min(first, second))
    return tail if first < second else 1 - tail


def _fair_tail(coins: int, heads: int) -> float:
    """Return the probability of at most so many heads of fair coins, where heads < coins / 2."""
    if coins <= EXACT_COINS:
        ways = sum_ = 1  # of no head
        for j in range(heads):
            ways = ways * (coins - j) // (j + 1)
            sum_ += ways
        return sum_ / 2**coins
    mass = tail = _fair_mass(coins, heads)
    for j in range(heads, 0, -1):
        mass *= j / (coins - j + 1)  # below 1, and falling: the rest of the sum is smaller
        tail += mass
        if mass < tail * 1e-17:
            break
    return tail


def _fair_mass(coins: int, heads: int) -> float:
    """Return the probability of exactly so many heads of many fair coins, to 1e-14 of itself.

    A difference of three log-gammas of a million loses nine digits. Source: C. Loader, "Fast and
    accurate computation of binomial probabilities", 2000: what Stirling's formula lacks, and the
    deviance, each computed by itself.
    """
    tails = coins - heads
    if not heads:
        return 2.0**-coins
    apart = (tails - heads) / coins  # heads = coins (1 - apart) / 2
    deviance = heads * math.log1p(-apart) + tails * math.log1p(apart)
    lacking = _stirling_error(coins) - _stirling_error(heads) - _stirling_error(tails)
    return math.exp(lacking - deviance) * math.sqrt(coins / (2 * math.pi * heads * tails))


def _stirling_error(n: int) -> float:
    """Return log(n!) less Stirling's formula log(sqrt(2 pi n) (n / e)^n)."""
    if n < 16:
        return math.lgamma(n + 1) - 0.5 * math.log(2 * math.pi * n) - n * math.log(n) + n
    square = float(n) * n
    series = (1 / 1680 - (1 / 1188 - 691 / 360360 / square) / square) / square
    return (1 / 12 - (1 / 360 - (1 / 1260 - series) / square) / square) / n
