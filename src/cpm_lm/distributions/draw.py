"""From logits to the distribution of the next token, and from a uniform number to a token.

Knows logits and sampling rules, and computes in float64; does not know randomness, sessions or
text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cpm_lm.distributions.checks import Number
from cpm_lm.distributions.edits import Edits
from cpm_lm.distributions.filters import kept_tokens, top_k
from cpm_lm.distributions.rules import Rules
from cpm_lm.errors import EngineError
from cpm_lm.shapes import Float, Float32, Float64, Int32, Int64

__all__ = [
    "NO_TOKEN",
    "Distribution",
    "Drawn",
    "Scored",
    "distributions",
    "draw",
    "highest",
    "log_partition",
    "probabilities",
    "score",
]

NO_TOKEN = -1
"""What is drawn where edits have banned every token."""
BLOCK = 1 << 17
"""Numbers per block: one megabyte of float64, which fits a core's L2 cache."""


@dataclass(frozen=True, eq=False)
class Drawn:
    """The tokens drawn, in the order of the rows and of each row's uniform numbers."""

    tokens: Int32[np.ndarray, " U"]
    """-1 where edits have banned every token; the interval is then [0, 1), the logarithm 0."""
    low: Float64[np.ndarray, " U"]
    """The start of each token's interval [low, high) of the cumulative distribution."""
    high: Float64[np.ndarray, " U"]
    logprobs: Float64[np.ndarray, " U"]
    """Log-probability of each token under the model itself: temperature 1, no filters; natural
    logarithm."""


@dataclass(frozen=True, eq=False)
class Scored:
    """Log-probabilities under the model itself: temperature 1, no filters; natural logarithm.

    In the order of the rows and of each row's ids.
    """

    logprobs: Float64[np.ndarray, " P"]
    top_ids: Int32[np.ndarray, "R k"]
    """The k likeliest tokens of each row, likeliest first; ties by the lower id."""
    top_logprobs: Float64[np.ndarray, "R k"]


@dataclass(frozen=True, eq=False)
class Distribution:
    """The tokens of nonzero probability, by ascending id, and their probabilities.

    There are none where edits have banned every token.
    """

    tokens: Int64[np.ndarray, " K"]
    masses: Float64[np.ndarray, " K"]
    """Their sum is 1, unless there are none."""

    def invert(
        self, u: Float64[np.ndarray, " U"]
    ) -> tuple[Int64[np.ndarray, " U"], Float64[np.ndarray, " U"], Float64[np.ndarray, " U"]]:
        """Return for each u in [0, 1) the token whose interval of cumulative mass contains it.

        >>> distribution = Distribution(np.array([3, 8]), np.array([0.25, 0.75]))
        >>> tokens, low, high = distribution.invert(np.array([0.2, 0.9]))
        >>> tokens.tolist(), low.tolist(), high.tolist()
        ([3, 8], [0.0, 0.25], [0.25, 1.0])

        Returns:
            tokens, int64[U], and the two ends of each token's interval, float64[U] each.
        """
        if not len(self.tokens):
            return np.full(len(u), NO_TOKEN), np.zeros(len(u)), np.ones(len(u))
        edges = np.concatenate(([0.0], np.cumsum(self.masses)))
        edges /= edges[-1]  # the last edge is exactly 1, so that every u < 1 has a token
        at = np.searchsorted(edges, u, side="right") - 1
        return self.tokens[at], edges[at], edges[at + 1]


EMPTY = Distribution(np.zeros(0, np.int64), np.zeros(0))
"""The distribution where every token is banned."""


def log_partition(logits: Float32[np.ndarray, "R V"]) -> Float64[np.ndarray, " R"]:
    """Return log(sum(exp(logits))) of each row in float64.

    A logit minus this is the log-probability under the model itself: temperature 1, no filters.

    Raises:
        EngineError: a row is no distribution, see `highest`.
    """
    result = np.empty(len(logits))
    for rows in _blocks(logits):
        top = highest(logits[rows]).astype(np.float64)
        shifted = logits[rows] - top[:, None]
        result[rows] = top + np.log(np.exp(shifted, out=shifted).sum(axis=1))
    return result


def highest(logits: Float[np.ndarray, "R V"]) -> Float[np.ndarray, " R"]:
    """Return each row's highest logit, after checking that the row is a distribution.

    A logit of -inf is a token that cannot come: a row may hold some of them. The maximum tells all
    the rest: it is NaN if the row holds NaN, inf if it holds inf, and -inf if no token can come.

    Raises:
        EngineError: a row holds NaN or inf, or nothing but -inf.
    """
    top = logits.max(axis=1)
    if not np.isfinite(top).all():
        raise EngineError(
            "the engine returned logits that are not finite numbers; the weights are damaged "
            "or overflow in this precision: try float32, or `cpm verify` the model"
        )
    return top


def distributions(
    logits: Float32[np.ndarray, "R V"], rules: Rules, edits: Sequence[Edits] = ()
) -> list[Distribution]:
    """Return for each row the distribution of the next token under the rules.

    Args:
        logits: one row per distribution.
        rules: the rules of all rows.
        edits: applied to the logits first, in this order.

    Raises:
        EngineError: a row is no distribution, see `highest`.
    """
    every = np.arange(logits.shape[1])  # shared by the rows without filters
    result = []
    for rows in _blocks(logits):
        scores, banned, top = _edited(logits[rows], rows.start, edits)
        if rules.temperature == 0:
            best = scores.argmax(axis=1)  # the first maximum: ties by the lowest id
            some = [Distribution(best[i : i + 1], np.ones(1)) for i in range(len(best))]
        else:
            some = _filtered(scores, top, rules, every)
        for i in banned:
            some[i] = EMPTY
        result += some
    return result


def _edited(
    logits: Float32[np.ndarray, "B V"], first: int, edits: Sequence[Edits]
) -> tuple[Float[np.ndarray, "B V"], list[int], Float[np.ndarray, " B"]]:
    """Apply edits to a copy of some rows; without edits, the rows are returned as they are.

    Args:
        logits: the rows.
        first: the number that the edits give the first of them.
        edits: in their order.

    Returns:
        the scores, the rows in which every token is banned (their scores are 0, and not to be
        used), and the highest score of each row.
    """
    top = highest(logits)
    if not edits:
        return logits, [], top
    scores = logits.astype(np.float64)
    for each in edits:
        each.part(np.arange(first, first + len(logits))).apply(scores)
    banned = scores.max(axis=1) == -np.inf
    scores[banned] = 0
    return scores, np.flatnonzero(banned).tolist(), scores.max(axis=1)


def _filtered(
    scores: Float[np.ndarray, "B V"],
    top: Float[np.ndarray, " B"],
    rules: Rules,
    every: Int64[np.ndarray, " V"],
) -> list[Distribution]:
    """Return the distributions of a block of rows at a temperature above 0.

    Args:
        scores: the logits, edited or as they are.
        top: the highest of each row.
        rules: the rules of all rows.
        every: the ids 0 to V-1.
    """
    result = []
    x = scores.astype(np.float64)
    x -= top[:, None]
    if rules.filter_order == "standard":
        _divide(x, rules.temperature)
    weights = np.exp(x)
    for i in range(len(x)):
        kept = kept_tokens(scores[i], weights[i], rules)
        masses = weights[i, kept]
        if rules.filter_order == "cpm":
            # Logits that differ may have equal weights, so the highest logit may not be kept.
            rest = x[i, kept]
            masses = np.exp(_divide(rest - rest.max(), rules.temperature))
        tokens = every if isinstance(kept, slice) else kept
        result.append(Distribution(tokens, masses / masses.sum()))
    return result


def draw(
    logits: Float32[np.ndarray, "R V"],
    rules: Sequence[Rules],
    u: Sequence[Float64[np.ndarray, " _"]],
    edits: Sequence[Edits] = (),
) -> Drawn:
    """Draw one token per uniform number by inverting the row's cumulative distribution.

    Args:
        logits: one row per distribution.
        rules: the rules of each row.
        u: the uniform numbers in [0, 1) of each row; a row may have none, or several.
        edits: applied to the logits before the rules, in this order.

    Raises:
        EngineError: a row is no distribution, see `highest`.
    """
    if not len(logits):
        none = np.zeros(0)
        return Drawn(np.zeros(0, np.int32), none, none, none)
    partition = log_partition(logits)
    found = _by_rules(logits, rules, edits)
    drawn = [d.invert(part) for d, part in zip(found, u, strict=True)]
    tokens, low, high = (np.concatenate(part) for part in zip(*drawn, strict=True))
    rows = np.repeat(np.arange(len(logits)), [len(part) for part in u])
    logprobs = logits[rows, tokens] - partition[rows]
    if edits:
        logprobs[tokens == NO_TOKEN] = 0
    return Drawn(tokens.astype(np.int32), low, high, logprobs)


def score(
    logits: Float32[np.ndarray, "R V"], ids: Sequence[Int32[np.ndarray, " _"]], top: int = 0
) -> Scored:
    """Return the log-probabilities of given tokens of each row, and of the `top` likeliest.

    Args:
        logits: one row per distribution.
        ids: the tokens of each row; a row may have none, or several.
        top: the number of likeliest tokens of each row.

    Raises:
        EngineError: a row is no distribution, see `highest`.
    """
    partition = log_partition(logits)
    rows = np.repeat(np.arange(len(logits)), [len(part) for part in ids])
    tokens = np.concatenate([np.zeros(0, np.int32), *ids])
    best = np.zeros((len(logits), top), np.int32)
    for row, likeliest in zip(logits, best, strict=True):
        found = top_k(row, top) if top else likeliest
        likeliest[:] = found[np.argsort(-row[found], kind="stable")]
    return Scored(
        logits[rows, tokens] - partition[rows],
        best,
        np.take_along_axis(logits, best, axis=1) - partition[:, None],
    )


def _by_rules(
    logits: Float32[np.ndarray, "R V"], rules: Sequence[Rules], edits: Sequence[Edits]
) -> list[Distribution]:
    """Return each row's distribution under its own rules; usually all rows share one object."""
    if all(each is rules[0] for each in rules):
        return distributions(logits, rules[0], edits) if len(rules) else []
    result = []
    for i, each in enumerate(rules):
        own = [edit.part(np.array([i])) for edit in edits]
        result += distributions(logits[i : i + 1], each, own)
    return result


def probabilities(
    logits: Float32[np.ndarray, "R V"], rules: Rules, edits: Sequence[Edits] = ()
) -> Float64[np.ndarray, "R V"]:
    """Return the distributions as dense rows; a token that the filters removed has 0."""
    dense = np.zeros(logits.shape)
    for row, distribution in zip(dense, distributions(logits, rules, edits), strict=True):
        row[distribution.tokens] = distribution.masses
    return dense


def _divide(x: Float64[np.ndarray, "*N"], temperature: Number) -> Float64[np.ndarray, "*N"]:
    """Divide x <= 0 in place; an overflow is -inf, a probability of 0."""
    with np.errstate(over="ignore"):
        x /= temperature
    return x


def _blocks(logits: Float32[np.ndarray, "R V"]) -> list[slice]:
    step = max(1, BLOCK // logits.shape[1])
    return [slice(start, start + step) for start in range(0, len(logits), step)]
