"""Best-first search for the exact distribution of answers: the likeliest prefixes come first.

Knows token ids, probabilities and a function from ids to an answer; does not know text, nor how
answers are compared.

Every text that the rules allow has a probability. The search assigns this probability (the text's
mass) to an answer or to the length limit; the rest is unexplored. So the mass found for an answer
is a lower bound of its probability, and this plus the unexplored mass is an upper bound.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from cpm_lm.decoding.protocol import Algorithm, Extend
from cpm_lm.decoding.sampling import Limits
from cpm_lm.distributions.draw import Distribution, distributions
from cpm_lm.distributions.rules import Rules
from cpm_lm.engines.forest import chain
from cpm_lm.engines.wants import Logits
from cpm_lm.errors import CapacityError, RequestError

__all__ = ["NO_ANSWER", "Found", "best_first"]

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
    unexplored; `budget`: the budget of rows is spent; `searching`: the search has not ended."""


class _Leaf:
    """A computed node, and its children that are not yet taken, likeliest first."""

    def __init__(
        self, path: tuple[int, ...], mass: float, slot: int, distribution: Distribution
    ) -> None:
        self.path = path
        self.slot = slot
        descending = np.argsort(-distribution.masses, kind="stable")
        self._tokens = distribution.tokens[descending]
        self._masses = mass * distribution.masses[descending]
        self._next = 0

    def next_mass(self) -> float:
        """Return the mass of the next child; 0 if all are taken."""
        return float(self._masses[self._next]) if self._next < len(self._masses) else 0.0

    def take(self) -> tuple[int, float]:
        """Take the next child: return its token and its mass."""
        i, self._next = self._next, self._next + 1
        return int(self._tokens[i]), float(self._masses[i])


def best_first(
    prompt: Sequence[int],
    *,
    rules: Rules,
    limits: Limits,
    answer_of: AnswerOf,
    rows: int,
    tolerance: float = 1e-4,
    width: int = 64,
    on_found: Callable[[Found], None] | None = None,
) -> Algorithm[Found]:
    """Enumerate the continuations of a prompt, the likeliest prefixes first.

    Args:
        prompt: token ids, 1 to n_positions.
        rules: the sampling rules, which define the distribution.
        limits: the length limit, the context and the capacity; `slide` is not supported.
        answer_of: the answer of a text.
        rows: the budget: the maximum number of forward rows, the prompt's included.
        tolerance: the search also ends when less than this mass is unexplored.
        width: the maximum number of rows in one request.
        on_found: called before each request with the present state.

    Raises:
        RequestError: `limits` asks for a sliding context.
        CapacityError: the capacity does not hold the prompt.
    """
    if limits.slide:
        raise RequestError("overflow is 'slide'; an exact search needs 'stop'")
    if len(prompt) > limits.capacity:
        raise CapacityError(f"the prompt needs {len(prompt)} nodes, of {limits.capacity} in all")
    state = _Frontier(limits, answer_of, longest=limits.longest(len(prompt)), tolerance=tolerance)
    left = min(rows, limits.capacity) - len(prompt)  # no node is released before the end
    if left < 0:
        return state.found(0, "budget")
    reply = yield _prefill(prompt)
    state.add([((), 1.0)], reply.nodes[-1:].tolist(), distributions(reply.answers[0], rules))
    computed = len(prompt)
    while True:
        batch, reason = state.next_batch(min(width, left))
        if reason:
            return state.found(computed, reason)
        if on_found:
            on_found(state.found(computed, "searching"))
        reply = yield Extend(
            tokens=np.array([path[-1] for path, _, _ in batch], np.int32),
            parents=np.array([slot for _, _, slot in batch], np.int32),
            wants=[Logits(np.arange(len(batch), dtype=np.int32))],
        )
        paths = [(path, mass) for path, mass, _ in batch]
        state.add(paths, reply.nodes.tolist(), distributions(reply.answers[0], rules))
        computed, left = computed + len(batch), left - len(batch)


class _Frontier:
    """The masses found, and a heap of leaves ordered by the mass of their next child."""

    def __init__(
        self, limits: Limits, answer_of: AnswerOf, *, longest: int, tolerance: float
    ) -> None:
        self._end_ids, self._answer_of = limits.end_ids, answer_of
        self._longest, self._tolerance = longest, tolerance
        self._heap: list[tuple[float, int, _Leaf]] = []
        self._pushes = 0
        self._masses: dict[Hashable | None, float] = {}
        self._cut_off = 0.0
        self._assigned = 0.0

    def add(
        self,
        paths: Sequence[tuple[tuple[int, ...], float]],
        slots: Sequence[int],
        next_tokens: Sequence[Distribution],
    ) -> None:
        """Add computed nodes: their ids and mass, slot, and distribution of the next token."""
        for (path, mass), slot, distribution in zip(paths, slots, next_tokens, strict=True):
            self._push(_Leaf(path, mass, slot, distribution))

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
            self._push(leaf)
            if not self._assign(leaf.path, token, mass):
                if not size:  # the budget allows no more rows
                    return [], self._stop_reason() or "budget"
                batch.append(((*leaf.path, token), mass, leaf.slot))
        if reason := self._stop_reason():
            return [], reason
        return batch, None if batch else "explored"

    def found(self, rows: int, reason: Reason) -> Found:
        """Return the present state of the search."""
        descending = dict(sorted(self._masses.items(), key=lambda item: -item[1]))
        return Found(descending, self._unexplored(), self._cut_off, rows, reason)

    def _assign(self, path: tuple[int, ...], token: int, mass: float) -> bool:
        """Assign a text's mass to its answer or to the length limit; False if it continues."""
        finished = token in self._end_ids
        ids = path if finished else (*path, token)
        answer = self._answer_of(ids, finished)
        if answer is not None or finished:
            key = None if answer is NO_ANSWER else answer
            self._masses[key] = self._masses.get(key, 0.0) + mass
        elif len(ids) == self._longest:
            self._cut_off += mass
        else:
            return False
        self._assigned += mass
        return True

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


def _prefill(tokens: Sequence[int]) -> Extend:
    """Return the request that computes a prompt and the logits after it."""
    return Extend(
        tokens=np.array(tokens, np.int32),
        parents=chain(len(tokens)),
        wants=[Logits(np.array([len(tokens) - 1], np.int32))],
    )
