"""Wants: what a call returns for the rows it computes (logits, draws or log-probabilities).

Knows indices, ids and numbers; does not know how an engine computes. A call takes a list of
wants, because one call can serve many algorithms, and returns one answer per want.

A long call is computed in slices. So a want can be split by rows into parts, and the answers of
the parts can be joined:

>>> want = Logits(np.array([0, 2, 5], np.int32))  # the logits after tokens 0, 2 and 5 of a call
>>> want.part(np.array([1, 2]), shift=2).at.tolist()  # rows 1 and 2, in a slice from token 2
[0, 3]
>>> later, first = np.array([[2.0], [5.0]], np.float32), np.array([[0.0]], np.float32)
>>> want.join([(np.array([1, 2]), later), (np.array([0]), first)]).tolist()
[[0.0], [2.0], [5.0]]
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cpm_lm.distributions.draw import Drawn, Scored, draw, score
from cpm_lm.distributions.edits import Edits
from cpm_lm.distributions.rules import Rules
from cpm_lm.shapes import Float32, Float64, Int32, Int64

__all__ = ["Draws", "LogProbs", "Logits", "Want", "answer_on_host"]

Rows = Int64[np.ndarray, " _"]
"""Indices into a want's `at`."""
Answer = Any
"""float32[R, V] for `Logits`, a `Drawn` for `Draws`, a `Scored` for `LogProbs`."""

BLOCK_BYTES = 1 << 25
"""The logits in memory at once while `Draws` and `LogProbs` are answered from them."""


class Want(abc.ABC):
    """A question about the next-token distributions after some of a call's tokens."""

    at: Int32[np.ndarray, " R"]
    """Indices into the call's tokens; row r is the distribution after token at[r]."""

    @abc.abstractmethod
    def part(self, rows: Rows, shift: int) -> Want:
        """Return the want for some rows only, with `shift` subtracted from their indices."""

    @abc.abstractmethod
    def answer(self, logits: Float32[np.ndarray, "R V"]) -> Answer:
        """Return the answer, given the logits of all rows.

        Raises:
            EngineError: a row to draw from or to score holds NaN or infinity.
        """

    @abc.abstractmethod
    def join(self, parts: Sequence[tuple[Rows, Answer]]) -> Answer:
        """Join the answers of at least one part; every row is in exactly one of them."""

    def join_or_empty(self, parts: Sequence[tuple[Rows, Answer]], vocab_size: int) -> Answer:
        """Join the answers of the parts; a want without rows has no parts."""
        return self.join(parts) if parts else self.answer(np.zeros((0, vocab_size), np.float32))


@dataclass(frozen=True, eq=False)
class Logits(Want):
    """The logits of the next token: float32[R, V]."""

    at: Int32[np.ndarray, " R"]

    def part(self, rows: Rows, shift: int) -> Logits:
        """Return the want for some rows only, with `shift` subtracted from their indices."""
        return Logits(_shifted(self.at, rows, shift))

    def answer(self, logits: Float32[np.ndarray, "R V"]) -> Float32[np.ndarray, "R V"]:
        """Return the logits unchanged."""
        return logits

    def join(
        self, parts: Sequence[tuple[Rows, Float32[np.ndarray, "_ V"]]]
    ) -> Float32[np.ndarray, "R V"]:
        """Return the logits in the order of `at`."""
        if (whole := _only_part(parts, len(self.at))) is not None:
            return whole
        logits = np.empty((len(self.at), parts[0][1].shape[1]), np.float32)
        for rows, found in parts:
            logits[rows] = found
        return logits


@dataclass(frozen=True, eq=False)
class Draws(Want):
    """One token drawn per uniform number: a `Drawn`."""

    at: Int32[np.ndarray, " R"]
    rules: Sequence[Rules]
    """The sampling rules of each row."""
    u: Sequence[Float64[np.ndarray, " _"]]
    """The uniform numbers in [0, 1) of each row, one for each sample at its node."""
    edits: Sequence[Edits] = ()
    """Applied to the logits before the rules, in this order; usually there are none."""

    def part(self, rows: Rows, shift: int) -> Draws:
        """Return the want for some rows only, with `shift` subtracted from their indices."""
        chosen = rows.tolist()
        rules, u = [self.rules[i] for i in chosen], [self.u[i] for i in chosen]
        return Draws(
            _shifted(self.at, rows, shift), rules, u, [each.part(rows) for each in self.edits]
        )

    def answer(self, logits: Float32[np.ndarray, "R V"]) -> Drawn:
        """Return the tokens drawn."""
        return draw(logits, self.rules, self.u, self.edits)

    def join(self, parts: Sequence[tuple[Rows, Drawn]]) -> Drawn:
        """Return the draws in the order of `at` and `u`."""
        if (whole := _only_part(parts, len(self.at))) is not None:
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
    """The log-probabilities of given tokens and of the likeliest ones: a `Scored`."""

    at: Int32[np.ndarray, " R"]
    ids: Sequence[Int32[np.ndarray, " _"]]
    """The tokens of each row; a row may have none, or several."""
    top: int = field(default=0, kw_only=True)
    """The number of likeliest tokens of each row to return as well."""

    @classmethod
    def of_each(
        cls, at: Int32[np.ndarray, " R"], ids: Int32[np.ndarray, " R"], *, top: int = 0
    ) -> LogProbs:
        """Return the want for one token per row.

        >>> want = LogProbs.of_each(np.array([0, 1], np.int32), np.array([7, 9], np.int32))
        >>> [row.tolist() for row in want.ids]
        [[7], [9]]
        """
        return cls(at, np.split(ids, np.arange(1, len(ids))) if len(ids) else [], top=top)

    def part(self, rows: Rows, shift: int) -> LogProbs:
        """Return the want for some rows only, with `shift` subtracted from their indices."""
        ids = [self.ids[i] for i in rows.tolist()]
        return LogProbs(_shifted(self.at, rows, shift), ids, top=self.top)

    def answer(self, logits: Float32[np.ndarray, "R V"]) -> Scored:
        """Return the log-probabilities."""
        return score(logits, self.ids, self.top)

    def join(self, parts: Sequence[tuple[Rows, Scored]]) -> Scored:
        """Return the log-probabilities in the order of `at` and `ids`."""
        if (whole := _only_part(parts, len(self.at))) is not None:
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
    """Answer all wants of a call from blocks of logits; each row is computed once.

    Only BLOCK_BYTES of logits are in memory at a time, besides those that a `Logits` want returns.

    Args:
        wants: each has at least one row.
        vocab_size: V.
        logits_of: returns the logits after the tokens with these indices, which are ascending.
    """
    step = max(1, BLOCK_BYTES // (4 * vocab_size))
    if len(wants) == 1:
        (want,) = wants
        ascending = bool((want.at[1:] > want.at[:-1]).all())
        if ascending and (isinstance(want, Logits) or len(want.at) <= step):
            return [want.answer(logits_of(want.at))]  # nothing is copied
    indices = np.unique(np.concatenate([want.at for want in wants]))
    parts: list[list[tuple[Rows, Answer]]] = [[] for _ in wants]
    for start in range(0, len(indices), step):
        block = indices[start : start + step]
        logits = logits_of(block)
        for want, found in zip(wants, parts, strict=True):
            place = np.minimum(np.searchsorted(block, want.at), len(block) - 1)
            rows = np.flatnonzero(block[place] == want.at)
            if len(rows):
                part = want if len(rows) == len(want.at) else want.part(rows, 0)
                found.append((rows, part.answer(_rows_of(logits, place[rows]))))
    return [want.join(found) for want, found in zip(wants, parts, strict=True)]


def _rows_of(
    logits: Float32[np.ndarray, "K V"], rows: Int64[np.ndarray, " R"]
) -> Float32[np.ndarray, "R V"]:
    """Return rows of the logits, without a copy if they are all rows in order."""
    same = len(rows) == len(logits) and bool((rows == np.arange(len(rows))).all())
    return logits if same else logits[rows]


def _shifted(at: Int32[np.ndarray, " R"], rows: Rows, shift: int) -> Int32[np.ndarray, " _"]:
    return (at[rows] - shift).astype(np.int32)


def _only_part(parts: Sequence[tuple[Rows, Answer]], count: int) -> Answer | None:
    """Return the answer of the only part, if it has all rows in order; nothing is copied."""
    rows, answer = parts[0]
    whole = len(parts) == 1 and len(rows) == count and bool((rows == np.arange(count)).all())
    return answer if whole else None


def _places(counts: Sequence[int], parts: Sequence[Rows]) -> Int64[np.ndarray, " U"]:
    """Return, for the entries of all rows in order, their indices in the parts' entries, joined.

    The parts joined below hold one entry of row 2, then two of row 0, then one of row 1:

    >>> _places([2, 1, 1], [np.array([2]), np.array([0, 1])]).tolist()
    [1, 2, 3, 0]

    Args:
        counts: the number of entries of each row.
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
