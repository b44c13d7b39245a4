"""Filters that look at a path: bias, bans, repetition, presence, frequency and n-grams.

Knows token ids and the paths of a tree; does not know text, logits or engines. What a filter says
about the next token depends on the tokens before it only, so samples that share a node share it.
It is kept with the node: a child's `History` is made from its parent's. Engines receive `Edits`.

Order: bias, bans, penalties; temperature and the other filters follow. Repetition and n-grams
look at all tokens of the context, as transformers does; presence and frequency at those that were
drawn, as OpenAI's API does. After a slide of the context, at what is still in it.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain

import numpy as np

from cpm_lm.decoding.banned_text import BannedText
from cpm_lm.distributions.checks import Number
from cpm_lm.distributions.edits import Edits
from cpm_lm.shapes import Float64, Int32

__all__ = ["History", "PathFilters"]

Gram = tuple[int, ...]


class History:
    """What the filters need of a path; immutable."""

    __slots__ = ("counts", "drawn", "grams", "progress", "tail")

    def __init__(
        self,
        counts: dict[int, int],
        grams: dict[Gram, Gram],
        tail: Gram,
        progress: tuple[int, ...],
        drawn: int,
    ) -> None:
        self.counts = counts
        """Of each token of the path, how often it was drawn; 0 if only the prompt has it."""
        self.grams = grams
        """What has followed each n-1 tokens of the path."""
        self.tail = tail
        """The last tokens, as many as a ban or an n-gram looks at."""
        self.progress = progress
        """The state of each banned text."""
        self.drawn = drawn
        """The tokens drawn since the prompt, those that have left the context included."""


@dataclass(frozen=True, kw_only=True)
class PathFilters:
    """The filters of a request, in ids. `start` and `extended` make histories, `edits` uses them.

    All are off by default. Sources: transformers' LogitsProcessors of the same names; OpenAI's
    API reference, "Frequency and presence penalties".
    """

    repetition_penalty: Number = 1.0
    presence_penalty: Number = 0.0
    frequency_penalty: Number = 0.0
    no_repeat_ngram: int = 0
    """The size of n-grams that may not come twice; 0 is off."""
    bans: tuple[Gram, ...] = ()
    """Sequences of ids that may not come; the last token of one is banned after the others."""
    texts: tuple[BannedText, ...] = ()
    bias: Mapping[int, Number] = field(default_factory=dict)
    """What is added to the logit of an id."""
    min_tokens: int = 0
    """The number of tokens drawn before one of `end_ids` may come."""
    end_ids: tuple[int, ...] = ()

    @property
    def active(self) -> bool:
        """Whether any filter is on."""
        on = self.bans or self.texts or self.bias or self.no_repeat_ngram or self.min_tokens
        return bool(on) or self._penalizes

    def start(self, tokens: Iterable[int], *, drawn_in_context: int = 0, drawn: int = 0) -> History:
        """Return the history of the tokens of a context.

        Args:
            tokens: the prompt, or after a slide of the context what is still in it.
            drawn_in_context: how many of the last ones were drawn.
            drawn: how many were drawn in all.
        """
        path = list(tokens)
        prompt = len(path) - drawn_in_context
        counts = dict.fromkeys(path[:prompt] if self._penalizes else (), 0)
        history = History(counts, {}, (), (0,) * len(self.texts), drawn - len(path))
        for i, token in enumerate(path):
            history = self.extended(history, token, was_drawn=i >= prompt)
        return history

    def extended(self, history: History, token: int, *, was_drawn: bool = True) -> History:
        """Return the history of a path with one more token."""
        counts, grams, n = history.counts, history.grams, self.no_repeat_ngram
        if self._penalizes and was_drawn:
            counts = {**counts, token: counts.get(token, 0) + 1}
        if n and len(history.tail) >= n - 1:
            before = history.tail[len(history.tail) - (n - 1) :]
            grams = {**grams, before: (*grams.get(before, ()), token)}
        tail = (*history.tail, token)
        states = zip(self.texts, history.progress, strict=True)
        return History(
            counts,
            grams,
            tail[max(0, len(tail) - self._look_back) :],
            tuple(text.after(state, token) for text, state in states),
            history.drawn + 1,
        )

    def edits(self, histories: Sequence[History]) -> list[Edits]:
        """Return the edits of rows, one row for each history."""
        layers = []
        if self.bias:
            layers.append(self._biases(len(histories)))
        banned = [self._banned(history) for history in histories]
        if any(banned):
            counts = [len(ids) for ids in banned]
            ids = np.fromiter(chain.from_iterable(banned), np.int32, sum(counts))
            layers.append(_edits(counts, ids, addends=np.full(len(ids), -np.inf)))
        if self._penalizes:
            layers.append(self._penalties(histories))
        return layers

    @functools.cached_property
    def _penalizes(self) -> bool:
        return (
            self.repetition_penalty != 1
            or self.presence_penalty != 0
            or self.frequency_penalty != 0
        )

    @functools.cached_property
    def _look_back(self) -> int:
        """The number of last tokens that a ban or an n-gram looks at."""
        return max([self.no_repeat_ngram, 1, *map(len, self.bans)]) - 1

    @functools.cached_property
    def _bans_after(self) -> dict[Gram, Gram]:
        """The last ids of the bans, by the ids before them."""
        found: dict[Gram, Gram] = {}
        for *before, last in self.bans:
            found[tuple(before)] = (*found.get(tuple(before), ()), last)
        return found

    @functools.cached_property
    def _ban_lengths(self) -> list[int]:
        return sorted({len(before) for before in self._bans_after})

    def _biases(self, rows: int) -> Edits:
        ids = np.tile(np.fromiter(self.bias.keys(), np.int32), rows)
        addends = np.tile(np.fromiter(self.bias.values(), np.float64), rows)
        return _edits([len(self.bias)] * rows, ids, addends=addends)

    def _banned(self, history: History) -> list[int]:
        """Return the ids banned after a path; an id may come twice."""
        tail = history.tail
        found: list[int] = []
        if history.drawn < self.min_tokens:
            found += self.end_ids
        for length in self._ban_lengths:
            if length <= len(tail):
                found += self._bans_after.get(tail[len(tail) - length :], ())
        if (n := self.no_repeat_ngram) and len(tail) >= n - 1:
            found += history.grams.get(tail[len(tail) - (n - 1) :], ())
        for text, state in zip(self.texts, history.progress, strict=True):
            found += text.banned(state)
        return found

    def _penalties(self, histories: Sequence[History]) -> Edits:
        """Return l / repetition or l * repetition, less presence and frequency, of the tokens."""
        lengths = [len(history.counts) for history in histories]
        total = sum(lengths)
        every = [history.counts for history in histories]
        ids = np.fromiter(chain.from_iterable(every), np.int32, total)
        drawn = np.fromiter(chain.from_iterable(c.values() for c in every), np.float64, total)
        addends = -(self.presence_penalty * (drawn > 0) + self.frequency_penalty * drawn)
        return _edits(lengths, ids, np.full(total, float(self.repetition_penalty)), addends)


def _edits(
    counts: Sequence[int],
    ids: Int32[np.ndarray, " E"],
    factors: Float64[np.ndarray, " E"] | None = None,
    addends: Float64[np.ndarray, " E"] | None = None,
) -> Edits:
    """Return edits of rows 0, 1, 2, which have as many entries as `counts` says."""
    return Edits(
        np.repeat(np.arange(len(counts), dtype=np.int32), counts),
        ids,
        np.ones(len(ids)) if factors is None else factors,
        np.zeros(len(ids)) if addends is None else addends,
    )
