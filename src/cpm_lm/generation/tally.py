"""The tally of answers: counts, shares and their confidence intervals.

Knows answers and counts; does not know models, tokens or how the texts were drawn.

The tie rule: of answers with equal counts, the one drawn first wins.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["AnswerShare", "posterior_lead", "tally", "wilson"]


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
    # With a, b = first + 1, second + 1, P(Beta(a, b) > 1/2) is a tail of the binomial
    # distribution of a + b - 1 fair coins.
    coins = first + second + 1
    return sum(math.comb(coins, j) for j in range(first + 1)) / 2**coins
