"""From logits to the distribution that a token is drawn from, and from a number to its token.

Pure functions of numbers, in float64; knows neither randomness, nor sessions, nor text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64, Int32, Int64

from cpm_lm.distributions.checks import Number
from cpm_lm.distributions.filters import kept_tokens, top_k
from cpm_lm.distributions.rules import Rules
from cpm_lm.errors import EngineError

__all__ = [
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

BLOCK = 1 << 17
"""Numbers handled at once: a megabyte of float64, which stays in a core's cache."""


@dataclass(frozen=True, eq=False)
class Drawn:
    """What numbers of [0, 1) have chosen, in the order of the rows and of each row's numbers."""

    tokens: Int32[np.ndarray, " U"]
    low: Float64[np.ndarray, " U"]
    """The interval [low, high) of the cumulative distribution that each number fell into."""
    high: Float64[np.ndarray, " U"]
    logprobs: Float64[np.ndarray, " U"]
    """Of each token under the model itself: temperature 1, no filter; natural logarithm."""


@dataclass(frozen=True, eq=False)
class Scored:
    """Log-probabilities under the model itself, in the order of the rows and of each row's ids."""

    logprobs: Float64[np.ndarray, " P"]
    top_ids: Int32[np.ndarray, "R k"]
    """The k likeliest tokens of each row, likeliest first, of equal ones the lower id first."""
    top_logprobs: Float64[np.ndarray, "R k"]


@dataclass(frozen=True, eq=False)
class Distribution:
    """The tokens that may come next, by ascending id, and their probabilities."""

    tokens: Int64[np.ndarray, " K"]
    masses: Float64[np.ndarray, " K"]

    def invert(
        self, u: Float64[np.ndarray, " U"]
    ) -> tuple[Int64[np.ndarray, " U"], Float64[np.ndarray, " U"], Float64[np.ndarray, " U"]]:
        """Return for each u in [0, 1) the token where the cumulative mass passes it.

        Returns:
            tokens, int64[U], and the ends of each token's own interval of u, float64[U] twice.
        """
        edges = np.concatenate(([0.0], np.cumsum(self.masses)))
        edges /= edges[-1]  # exactly 1 at the end, so that every u < 1 finds a token
        at = np.searchsorted(edges, u, side="right") - 1
        return self.tokens[at], edges[at], edges[at + 1]


def log_partition(logits: Float32[np.ndarray, "R V"]) -> Float64[np.ndarray, " R"]:
    """Return log(sum(exp(logits))) of each row in float64.

    A logit minus this is the log-probability under the model itself: temperature 1, no filter.

    Raises:
        EngineError: a row is no distribution, see `highest`.
    """
    result = np.empty(len(logits))
    for rows in _blocks(logits):
        top = highest(logits[rows]).astype(np.float64)
        shifted = logits[rows] - top[:, None]
        result[rows] = top + np.log(np.exp(shifted, out=shifted).sum(axis=1))
    return result


def highest(logits: Float32[np.ndarray, "R V"]) -> Float32[np.ndarray, " R"]:
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


def distributions(logits: Float32[np.ndarray, "R V"], rules: Rules) -> list[Distribution]:
    """Return for each row the distribution that the next token is drawn from.

    Raises:
        EngineError: a row is no distribution, see `highest`.
    """
    if rules.temperature == 0:
        highest(logits)
        best = logits.argmax(axis=1)  # the first of equals: the lowest id
        return [Distribution(best[i : i + 1], np.ones(1)) for i in range(len(best))]
    result = []
    for rows in _blocks(logits):
        x = logits[rows].astype(np.float64)
        x -= highest(logits[rows])[:, None]
        if rules.filter_order == "standard":
            _divide(x, rules.temperature)
        weights = np.exp(x)
        for i in range(len(x)):
            kept = kept_tokens(logits[rows][i], weights[i], rules)
            masses = weights[i, kept]
            if rules.filter_order == "cpm":
                masses = np.exp(_divide(x[i, kept], rules.temperature))
            tokens = np.arange(len(masses)) if isinstance(kept, slice) else kept
            result.append(Distribution(tokens, masses / masses.sum()))
    return result


def draw(
    logits: Float32[np.ndarray, "R V"],
    rules: Sequence[Rules],
    u: Sequence[Float64[np.ndarray, " _"]],
) -> Drawn:
    """Draw a token for every number, by inverting its row's cumulative distribution.

    Args:
        logits: a row for each distribution.
        rules: how each row becomes a distribution.
        u: the numbers of [0, 1) of each row; a row may have none, or several.

    Raises:
        EngineError: a row is no distribution, see `highest`.
    """
    if not len(logits):
        none = np.zeros(0)
        return Drawn(np.zeros(0, np.int32), none, none, none)
    partition = log_partition(logits)
    drawn = [d.invert(part) for d, part in zip(_by_rules(logits, rules), u, strict=True)]
    tokens, low, high = (np.concatenate(part) for part in zip(*drawn, strict=True))
    rows = np.repeat(np.arange(len(logits)), [len(part) for part in u])
    logprobs = logits[rows, tokens] - partition[rows]
    return Drawn(tokens.astype(np.int32), low, high, logprobs)


def score(
    logits: Float32[np.ndarray, "R V"], ids: Sequence[Int32[np.ndarray, " _"]], top: int = 0
) -> Scored:
    """Return the log-probabilities of some tokens of each row, and of the `top` likeliest.

    Raises:
        EngineError: a row is no distribution, see `highest`.
    """
    partition = log_partition(logits)
    rows = np.repeat(np.arange(len(logits)), [len(part) for part in ids])
    asked = np.concatenate([np.zeros(0, np.int32), *ids])
    best = np.zeros((len(logits), top), np.int32)
    for row, chosen in zip(logits, best, strict=True):
        found = top_k(row, top) if top else chosen
        chosen[:] = found[np.argsort(-row[found], kind="stable")]
    return Scored(
        logits[rows, asked] - partition[rows],
        best,
        np.take_along_axis(logits, best, axis=1) - partition[:, None],
    )


def _by_rules(logits: Float32[np.ndarray, "R V"], rules: Sequence[Rules]) -> list[Distribution]:
    """Return each row's distribution under its own rules; mostly all rows have the same."""
    if all(each is rules[0] for each in rules):
        return distributions(logits, rules[0]) if len(rules) else []
    return [distributions(logits[i : i + 1], each)[0] for i, each in enumerate(rules)]


def probabilities(logits: Float32[np.ndarray, "R V"], rules: Rules) -> Float64[np.ndarray, "R V"]:
    """Return the same distributions as whole rows, 0 for tokens that cannot be drawn."""
    dense = np.zeros(logits.shape)
    for row, distribution in zip(dense, distributions(logits, rules), strict=True):
        row[distribution.tokens] = distribution.masses
    return dense


def _divide(x: Float64[np.ndarray, "*N"], temperature: Number) -> Float64[np.ndarray, "*N"]:
    """Divide x <= 0 in place; what overflows is -inf, a probability of 0."""
    with np.errstate(over="ignore"):
        x /= temperature
    return x


def _blocks(logits: Float32[np.ndarray, "R V"]) -> list[slice]:
    step = max(1, BLOCK // logits.shape[1])
    return [slice(start, start + step) for start in range(0, len(logits), step)]
