"""The frontier of a best-first search: the masses found, and the leaves by their next child.

Knows token ids, probabilities and a callback that returns a text's answer; does not know requests.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from cpm_lm.decoding.limits import Limits
from cpm_lm.decoding.penalties import History, PathFilters
from cpm_lm.distributions.draw import Distribution, distributions
from cpm_lm.distributions.edits import Edits
from cpm_lm.distributions.rules import Rules
from cpm_lm.shapes import Float32, Float64

__all__ = ["NO_ANSWER", "AnswerOf", "Found", "Frontier", "row_bytes"]

AnswerOf = Callable[[tuple[int, ...], bool], Hashable | None]
"""Called with the ids of a text and whether an end token follows them. Returns the answer, None
while it may still change, or NO_ANSWER. After an end token, None means NO_ANSWER."""
NO_ANSWER = object()
"""The result for a text that has ended without an answer."""

Reason = Literal["proven", "explored", "budget", "searching"]

MARGIN = 1e-6
"""The lead that proves a winner; far above the rounding errors of the sums of masses."""
CHECK_EVERY = 256
"""Texts taken from the frontier between two checks of the stopping conditions."""

CHILDREN_PER_ROW = 512
"""Children that may be kept for each row on average; a likely row has many more, others few."""
CHILD_BYTES = 24
"""Of a child: its token and mass, and a copy of the mass while the lightest are dropped."""
ANSWER_CHILDREN = 25
"""As many children take the memory of one answer that was found, with its bounds."""
LEAF_BYTES = 1024
"""Of a row: its path and its place in the heap."""


def row_bytes(vocab_size: int) -> int:
    """Return the bytes that a search keeps for each row besides the row's keys and values."""
    return LEAF_BYTES + CHILD_BYTES * min(vocab_size, CHILDREN_PER_ROW)


@dataclass(frozen=True)
class Found:
    """The state of a search: the bounds of each answer's probability."""

    masses: dict[Hashable | None, float]
    """The mass found for each answer, greatest first: a lower bound of its probability. The key
    None is the mass of texts without an answer."""
    unexplored: float
    """The mass of all texts not reached; an upper bound is the lower bound plus this."""
    cut_off: float
    """The mass of texts that the length limit cut off, which belong to no answer."""
    rows: int
    """Forward rows computed."""
    reason: Reason
    """`proven`: no other answer can reach the leader; `explored`: less than the tolerance is
    unexplored; `budget`: the budget of rows, or of children, is spent; `searching`: the search
    has not ended."""
    banned: float = 0.0
    """The mass of texts that ended because the filters of their path banned every token; it is
    also in `masses`."""


class _Leaf:
    """A computed node, and its children that are not yet taken, likeliest first.

    Args:
        path: the ids after the prompt.
        mass: of the path.
        slot: the node.
        distribution: of the next token.
        floor: lighter children are not kept.
    """

    def __init__(
        self,
        path: tuple[int, ...],
        mass: float,
        slot: int,
        distribution: Distribution,
        floor: float,
    ) -> None:
        self.path = path
        self.slot = slot
        descending = np.argsort(-distribution.masses, kind="stable")
        self._tokens = distribution.tokens[descending].astype(np.int32)
        self._masses = mass * distribution.masses[descending]
        self._next = 0
        self.dropped = self.drop(floor)
        """Whether a child that could have been taken was not kept."""

    def __len__(self) -> int:
        return len(self._masses) - self._next

    def masses(self) -> Float64[np.ndarray, " K"]:
        """Return the masses of the children that are not taken."""
        return self._masses[self._next :]

    def next_mass(self) -> float:
        """Return the mass of the next child; 0 if all are taken."""
        return float(self._masses[self._next]) if len(self) else 0.0

    def take(self) -> tuple[int, float]:
        """Take the next child: return its token and its mass."""
        i, self._next = self._next, self._next + 1
        return int(self._tokens[i]), float(self._masses[i])

    def drop(self, floor: float) -> bool:
        """Drop the children that are not heavier than this; return whether one had a mass."""
        end = self._next + int(np.count_nonzero(self.masses() > floor))
        dropped = end < len(self._masses) and self._masses[end] > 0
        kept = slice(self._next, end)
        self._tokens, self._masses = self._tokens[kept].copy(), self._masses[kept].copy()
        self._next = 0
        return bool(dropped)


class Frontier:
    """The masses found, and a heap of leaves ordered by the mass of their next child."""

    def __init__(
        self,
        limits: Limits,
        rules: Rules,
        answer_of: AnswerOf,
        *,
        longest: int,
        tolerance: float,
    ) -> None:
        self._limits, self._rules, self._answer_of = limits, rules, answer_of
        self._longest, self._tolerance = longest, tolerance
        self._heap: list[tuple[float, int, _Leaf]] = []
        self._pushes = 0
        self._kept = 0
        """Children of all leaves that are not taken."""
        self._floor = 0.0
        """The mass of the heaviest child that was dropped, or more."""
        self._dropped = False
        self._masses: dict[Hashable | None, float] = {}
        self._cut_off = self._banned = 0.0
        self._assigned = 0.0
        self._filters: PathFilters | None = None
        self._histories: dict[tuple[int, ...], History] = {}
        """Of the paths that are computed, or about to be."""

    def filter_paths(self, filters: PathFilters, prompt: Sequence[int]) -> None:
        """Filter the tokens after every path; called before anything is added."""
        self._filters = filters
        self._histories[()] = filters.start(prompt)

    def add(
        self,
        paths: Sequence[tuple[tuple[int, ...], float]],
        slots: Sequence[int],
        logits: Float32[np.ndarray, "R V"],
    ) -> None:
        """Add computed nodes: their ids and mass, slot, and logits of the next token."""
        for i, ((path, mass), slot) in enumerate(zip(paths, slots, strict=True)):
            # One row at a time: the distributions of all would take more than their children.
            (distribution,) = distributions(logits[i : i + 1], self._rules, self._edits(path))
            if not len(distribution.tokens):  # nothing is left, so the text ends
                self._assign_to(self._answer_of(path, True), mass)
                self._banned += mass
            leaf = _Leaf(path, mass, slot, distribution, self._floor)
            self._dropped |= leaf.dropped
            self._kept += len(leaf)
            self._push(leaf)
            self._bound(logits.shape[1])

    def _edits(self, path: tuple[int, ...]) -> list[Edits]:
        """Return the edits of the row after a path."""
        if not self._filters:
            return []
        if path not in self._histories:
            parent = self._histories[path[:-1]]
            self._histories[path] = self._filters.extended(parent, path[-1])
        return self._filters.edits([self._histories[path]])

    def _bound(self, vocab_size: int) -> None:
        """Drop the lightest children where there are more than the memory holds."""
        most = min(vocab_size, CHILDREN_PER_ROW) * self._limits.capacity + vocab_size
        most = max(0, most - ANSWER_CHILDREN * len(self._masses))
        if self._kept <= most:
            return
        most = most * 3 // 4  # so that this is done seldom
        masses = np.concatenate([leaf.masses() for _, _, leaf in self._heap])
        lightest = len(masses) - most
        masses.partition(lightest - 1)
        self._floor = max(self._floor, float(masses[lightest - 1]))
        for _, _, leaf in self._heap:
            self._dropped |= leaf.drop(self._floor)
        self._heap = [item for item in self._heap if len(item[2])]
        heapq.heapify(self._heap)
        self._kept = sum(len(leaf) for _, _, leaf in self._heap)

    def next_batch(
        self, size: int
    ) -> tuple[list[tuple[tuple[int, ...], float, int]], Reason | None]:
        """Return the likeliest texts to compute (ids, mass, parent's slot), or a reason to stop."""
        batch: list[tuple[tuple[int, ...], float, int]] = []
        taken = 0
        while self._heap and (len(batch) < size or not size):
            if taken % CHECK_EVERY == 0 and (reason := self._stop_reason()):
                return [], reason
            taken += 1
            leaf = heapq.heappop(self._heap)[2]
            token, mass = leaf.take()
            self._kept -= 1
            self._push(leaf)
            if not self._assign(leaf.path, token, mass):
                if not size:  # the budget allows no more rows
                    return [], self._stop_reason() or "budget"
                batch.append(((*leaf.path, token), mass, leaf.slot))
        if reason := self._stop_reason():
            return [], reason
        return batch, None if batch else "budget" if self._dropped else "explored"

    def found(self, rows: int, reason: Reason) -> Found:
        """Return the present state of the search."""
        descending = dict(sorted(self._masses.items(), key=lambda item: -item[1]))
        return Found(descending, self._unexplored(), self._cut_off, rows, reason, self._banned)

    def _assign(self, path: tuple[int, ...], token: int, mass: float) -> bool:
        """Assign a text's mass to its answer or to the length limit; False if it continues."""
        finished = token in self._limits.end_ids
        ids = path if finished else (*path, token)
        answer = self._answer_of(ids, finished)
        if answer is not None or finished:
            self._assign_to(answer, mass)
        elif len(ids) == self._longest:
            self._cut_off += mass
            self._assigned += mass
        else:
            return False
        return True

    def _assign_to(self, answer: Hashable | None, mass: float) -> None:
        """Assign mass to an answer; None and NO_ANSWER are no answer."""
        key = None if answer is NO_ANSWER else answer
        self._masses[key] = self._masses.get(key, 0.0) + mass
        self._assigned += mass

    def _stop_reason(self) -> Reason | None:
        unexplored = self._unexplored()
        answers = [mass for answer, mass in self._masses.items() if answer is not None]
        first, second = (*heapq.nlargest(2, answers), 0.0, 0.0)[:2]
        if first > second + unexplored + MARGIN:
            return "proven"
        return "explored" if unexplored < self._tolerance else None

    def _unexplored(self) -> float:
        return max(0.0, 1.0 - self._assigned)

    def _push(self, leaf: _Leaf) -> None:
        if mass := leaf.next_mass():
            self._pushes += 1  # breaks ties, since leaves have no order
            heapq.heappush(self._heap, (-mass, self._pushes, leaf))
