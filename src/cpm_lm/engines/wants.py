"""What a call wants of the rows it computes: logits, draws, or log-probabilities.

Knows indices, ids and numbers; does not know how an engine computes. A call has a list of wants,
because one call joins the work of many algorithms, and answers each in kind.

A want can be cut into parts by rows, as long calls are computed in slices, and the answers of its
parts can be joined again:

    want = Logits([0, 2, 5])
    want.part(np.array([1, 2]), shift=2)  # Logits([0, 3]): rows 1 and 2 of a slice from token 2
    want.join([([1, 2], b), ([0], a)])  # the rows of a, then those of b
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float32, Float64, Int32, Int64

from cpm_lm.distributions.draw import Drawn, Scored, draw, score
from cpm_lm.distributions.rules import Rules

__all__ = ["Draws", "LogProbs", "Logits", "Want", "answer_on_host"]

Rows = Int64[np.ndarray, " _"]
"""Which entries of a want's `at`."""
Answer = Any
"""Of `Logits` float32[R, V], of `Draws` a `Drawn`, of `LogProbs` a `Scored`."""

BLOCK_BYTES = 1 << 25
"""Logits held at once while draws and log-probabilities are computed from them."""


class Want(abc.ABC):
    """What is wanted of some of a call's tokens."""

    at: Int32[np.ndarray, " R"]
    """Indices into the call's tokens: the distributions after these are asked about."""

    @abc.abstractmethod
    def part(self, rows: Rows, shift: int) -> Want:
        """Return the want of some rows only, their indices less `shift`."""

    @abc.abstractmethod
    def of(self, logits: Float32[np.ndarray, "R V"]) -> Answer:
        """Return the answer, given the logits of all rows.

        Raises:
            EngineError: a row that is drawn from or scored holds NaN or infinity.
        """

    @abc.abstractmethod
    def join(self, parts: Sequence[tuple[Rows, Answer]]) -> Answer:
        """Return the whole answer, given those of its parts; every row is in one of them."""

    def joined(self, parts: Sequence[tuple[Rows, Answer]], vocab_size: int) -> Answer:
        """Return the same; a want without rows may have no parts."""
        return self.join(parts) if parts else self.of(np.zeros((0, vocab_size), np.float32))


@dataclass(frozen=True, eq=False)
class Logits(Want):
    """The raw scores of the next token: float32[R, V]."""

    at: Int32[np.ndarray, " R"]

    def part(self, rows: Rows, shift: int) -> Logits:
        """Return the want of some rows only, their indices less `shift`."""
        return Logits(_shifted(self.at, rows, shift))

    def of(self, logits: Float32[np.ndarray, "R V"]) -> Float32[np.ndarray, "R V"]:
        """Return the logits as they are."""
        return logits

    def join(
        self, parts: Sequence[tuple[Rows, Float32[np.ndarray, "_ V"]]]
    ) -> Float32[np.ndarray, "R V"]:
        """Return the rows in the order of `at`."""
        if (whole := _whole(parts, len(self.at))) is not None:
            return whole
        logits = np.empty((len(self.at), parts[0][1].shape[1]), np.float32)
        for rows, found in parts:
            logits[rows] = found
        return logits


@dataclass(frozen=True, eq=False)
class Draws(Want):
    """A token for every number of [0, 1): a `Drawn`."""

    at: Int32[np.ndarray, " R"]
    rules: Sequence[Rules]
    """How each row's logits become the distribution that is drawn from."""
    u: Sequence[Float64[np.ndarray, " _"]]
    """Each row's numbers: as many as there are samples that wait for it."""

    def part(self, rows: Rows, shift: int) -> Draws:
        """Return the want of some rows only, their indices less `shift`."""
        chosen = rows.tolist()
        rules, u = [self.rules[i] for i in chosen], [self.u[i] for i in chosen]
        return Draws(_shifted(self.at, rows, shift), rules, u)

    def of(self, logits: Float32[np.ndarray, "R V"]) -> Drawn:
        """Return what the numbers choose."""
        return draw(logits, self.rules, self.u)

    def join(self, parts: Sequence[tuple[Rows, Drawn]]) -> Drawn:
        """Return the draws in the order of `at` and `u`."""
        if (whole := _whole(parts, len(self.at))) is not None:
            return whole
        places = _places([len(numbers) for numbers in self.u], [rows for rows, _ in parts])
        found = [drawn for _, drawn in parts]
        return Drawn(
            np.concatenate([drawn.tokens for drawn in found])[places],
            np.concatenate([drawn.low for drawn in found])[places],
            np.concatenate([drawn.high for drawn in found])[places],
            np.concatenate([drawn.logprobs for drawn in found])[places],
        )


@dataclass(frozen=True, eq=False)
class LogProbs(Want):
    """The log-probabilities of given tokens, and of the likeliest ones: a `Scored`."""

    at: Int32[np.ndarray, " R"]
    ids: Sequence[Int32[np.ndarray, " _"]]
    """Each row's tokens; a row may have none, or several."""
    top: int = field(default=0, kw_only=True)
    """How many of each row's likeliest tokens are wanted besides."""

    @classmethod
    def of_each(
        cls, at: Int32[np.ndarray, " R"], ids: Int32[np.ndarray, " R"], *, top: int = 0
    ) -> LogProbs:
        """Return the want of one token for each row, as along a text.

        >>> want = LogProbs.of_each(np.array([0, 1], np.int32), np.array([7, 9], np.int32))
        >>> [row.tolist() for row in want.ids]
        [[7], [9]]
        """
        return cls(at, np.split(ids, np.arange(1, len(ids))) if len(ids) else [], top=top)

    def part(self, rows: Rows, shift: int) -> LogProbs:
        """Return the want of some rows only, their indices less `shift`."""
        ids = [self.ids[i] for i in rows.tolist()]
        return LogProbs(_shifted(self.at, rows, shift), ids, top=self.top)

    def of(self, logits: Float32[np.ndarray, "R V"]) -> Scored:
        """Return the log-probabilities."""
        return score(logits, self.ids, self.top)

    def join(self, parts: Sequence[tuple[Rows, Scored]]) -> Scored:
        """Return the log-probabilities in the order of `at` and `ids`."""
        if (whole := _whole(parts, len(self.at))) is not None:
            return whole
        rows = [rows for rows, _ in parts]
        places, order = _places(list(map(len, self.ids)), rows), np.argsort(np.concatenate(rows))
        found = [scored for _, scored in parts]
        return Scored(
            np.concatenate([scored.logprobs for scored in found])[places],
            np.concatenate([scored.top_ids for scored in found])[order],
            np.concatenate([scored.top_logprobs for scored in found])[order],
        )


LogitsOf = Callable[[Int32[np.ndarray, " K"]], Float32[np.ndarray, "K V"]]


def answer_on_host(wants: Sequence[Want], vocab_size: int, logits_of: LogitsOf) -> list[Answer]:
    """Answer all wants of a call from blocks of logits, computed once for each token asked about.

    No more than BLOCK_BYTES of logits are held, besides those that `Logits` asks for.

    Args:
        wants: at least one row of each.
        vocab_size: V.
        logits_of: returns the logits after the call's tokens with these indices, ascending.
    """
    step = max(1, BLOCK_BYTES // (4 * vocab_size))
    if len(wants) == 1:
        (want,) = wants
        ascending = bool((want.at[1:] > want.at[:-1]).all())
        if ascending and (isinstance(want, Logits) or len(want.at) <= step):
            return [want.of(logits_of(want.at))]  # nothing is copied
    every = np.unique(np.concatenate([want.at for want in wants]))
    parts: list[list[tuple[Rows, Answer]]] = [[] for _ in wants]
    for start in range(0, len(every), step):
        block = every[start : start + step]
        logits = logits_of(block)
        for want, found in zip(wants, parts, strict=True):
            place = np.minimum(np.searchsorted(block, want.at), len(block) - 1)
            rows = np.flatnonzero(block[place] == want.at)
            if len(rows):
                own = place[rows]
                same = len(own) == len(block) and bool((own == np.arange(len(own))).all())
                part = want if len(rows) == len(want.at) else want.part(rows, 0)
                found.append((rows, part.of(logits if same else logits[own])))
    return [want.join(found) for want, found in zip(wants, parts, strict=True)]


def _shifted(at: Int32[np.ndarray, " R"], rows: Rows, shift: int) -> Int32[np.ndarray, " _"]:
    return (at[rows] - shift).astype(np.int32)


def _whole(parts: Sequence[tuple[Rows, Answer]], count: int) -> Answer | None:
    """Return the answer of the only part, if that has all rows in order."""
    rows, answer = parts[0]
    whole = len(parts) == 1 and len(rows) == count and bool((rows == np.arange(count)).all())
    return answer if whole else None


def _places(counts: Sequence[int], parts: Sequence[Rows]) -> Int64[np.ndarray, " U"]:
    """Return where the entries of all rows, in order, lie in those of the parts, joined.

    >>> _places([2, 1, 1], [np.array([2]), np.array([0, 1])]).tolist()
    [1, 2, 3, 0]

    Row 2 came first, with one entry; then row 0 with two, and row 1 with one.

    Args:
        counts: how many entries each row has.
        parts: the rows of each part.
    """
    rows = np.concatenate(parts)
    sizes = np.array(counts, np.int64)[rows]
    ends = np.cumsum(sizes)
    starts = np.empty(len(rows), np.int64)
    starts[rows] = ends - sizes
    return np.concatenate(
        [np.arange(start, start + size) for start, size in zip(starts, counts, strict=True)]
        or [np.zeros(0, np.int64)]
    )
