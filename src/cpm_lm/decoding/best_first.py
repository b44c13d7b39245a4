"""The exact distribution of answers, by expanding the likeliest beginnings first.

Knows token ids, probabilities and a function that says which ids are an answer; does not know
text, nor how answers are compared.

Every text that the rules allow has a probability. What has been reached belongs to an answer, or
was cut off by the length limit, or is still unexplored; so the probability of an answer is at
least what has been found of it, and at most that and all that is unexplored.
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
"""Told the ids drawn and whether an end token came after them, returns the answer, or None while
it may still change, or NO_ANSWER. After an end token None means that there is no answer, too."""
NO_ANSWER = object()
"""What is returned for a text that has ended without an answer."""

Reason = Literal["proven", "explored", "budget", "searching"]

MARGIN = 1e-6
"""By how much the leader must be ahead of all others to have won."""
CHECK_EVERY = 256
"""Texts settled between two checks whether the search is over."""


@dataclass(frozen=True)
class Found:
    """What a search knows when it ends."""

    masses: dict[Hashable | None, float]
    """The probability found of each answer, greatest first: its lower bound."""
    unexplored: float
    """The probability of all texts not reached; an upper bound is lower bound plus this."""
    cut_off: float
    """The probability of texts that the length limit cut off, which belong to no answer."""
    rows: int
    """Forward rows computed."""
    reason: Reason
    """`proven`: the leader has won; `explored`: less than the tolerance is left; `budget`: the
    rows were spent, and the bounds are all that is known; `searching`: it has not ended."""


class _Leaf:
    """The texts that begin with one computed node, as far as they have not been taken out."""

    def __init__(self, path: tuple[int, ...], mass: float, slot: int, next_: Distribution) -> None:
        self.path = path
        self.slot = slot
        falling = np.argsort(-next_.masses, kind="stable")
        self._tokens = next_.tokens[falling]
        self._masses = mass * next_.masses[falling]
        self._at = 0

    def heaviest(self) -> float:
        """Return the mass of the next child; 0 when none is left."""
        return float(self._masses[self._at]) if self._at < len(self._masses) else 0.0

    def take(self) -> tuple[int, float]:
        """Take out the next child: its token and its mass."""
        at, self._at = self._at, self._at + 1
        return int(self._tokens[at]), float(self._masses[at])


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
    """Enumerate the texts after a prompt, the likeliest beginnings first.

    Args:
        prompt: 1 to n_positions tokens.
        rules: how logits become the distribution that is searched.
        limits: the length limit, the context and the capacity; a context never slides here.
        answer_of: says what is an answer.
        rows: the budget: the most forward rows computed, the prompt's among them.
        tolerance: the search also ends when less than this is unexplored.
        width: the most rows of one request.
        on_found: called before each step with what has been found so far.

    Raises:
        RequestError: `limits` asks for a sliding context.
        CapacityError: the capacity does not hold the prompt.
    """
    if limits.slide:
        raise RequestError("overflow is 'slide'; an exact search needs 'stop'")
    if len(prompt) > limits.capacity:
        raise CapacityError(f"the prompt needs {len(prompt)} nodes, of {limits.capacity} in all")
    state = _Frontier(limits, answer_of, longest=limits.longest(len(prompt)), tolerance=tolerance)
    left = min(rows, limits.capacity) - len(prompt)  # nothing is released before the end
    if left < 0:
        return state.found(0, "budget")
    reply = yield _chain(prompt)
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
    """What has been found, and the leaves by the mass of their heaviest child."""

    def __init__(
        self, limits: Limits, answer_of: AnswerOf, *, longest: int, tolerance: float
    ) -> None:
        self._end_ids, self._answer_of = limits.end_ids, answer_of
        self._longest, self._tolerance = longest, tolerance
        self._heap: list[tuple[float, int, _Leaf]] = []
        self._order = 0
        self._masses: dict[Hashable | None, float] = {}
        self._cut_off = 0.0
        self._settled = 0.0

    def add(
        self,
        paths: Sequence[tuple[tuple[int, ...], float]],
        slots: Sequence[int],
        next_: Sequence[Distribution],
    ) -> None:
        """Take in computed nodes."""
        for (path, mass), slot, distribution in zip(paths, slots, next_, strict=True):
            self._push(_Leaf(path, mass, slot, distribution))

    def next_batch(
        self, size: int
    ) -> tuple[list[tuple[tuple[int, ...], float, int]], Reason | None]:
        """Return the heaviest texts to compute (ids, mass, parent's node), or why to end."""
        batch: list[tuple[tuple[int, ...], float, int]] = []
        taken = 0
        while self._heap and (len(batch) < size or not size):
            if taken % CHECK_EVERY == 0 and (reason := self._over()):
                return [], reason
            taken += 1
            leaf = heapq.heappop(self._heap)[2]
            token, mass = leaf.take()
            self._push(leaf)
            if not self._settle(leaf.path, token, mass):
                if not size:  # nothing more may be computed
                    return [], self._over() or "budget"
                batch.append(((*leaf.path, token), mass, leaf.slot))
        if reason := self._over():
            return [], reason
        return batch, None if batch else "explored"

    def found(self, rows: int, reason: Reason) -> Found:
        """Return what is known."""
        falling = dict(sorted(self._masses.items(), key=lambda item: -item[1]))
        return Found(falling, self._unexplored(), self._cut_off, rows, reason)

    def _settle(self, path: tuple[int, ...], token: int, mass: float) -> bool:
        """Give a text's mass to its answer or to the length limit; False if it goes on."""
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
        self._settled += mass
        return True

    def _over(self) -> Reason | None:
        unexplored = self._unexplored()
        first, second = (*heapq.nlargest(2, self._of_answers()), 0.0, 0.0)[:2]
        if first > second + unexplored + MARGIN:
            return "proven"
        return "explored" if unexplored < self._tolerance else None

    def _of_answers(self) -> list[float]:
        return [mass for answer, mass in self._masses.items() if answer is not None]

    def _unexplored(self) -> float:
        return max(0.0, 1.0 - self._settled)

    def _push(self, leaf: _Leaf) -> None:
        if mass := leaf.heaviest():
            self._order += 1
            heapq.heappush(self._heap, (-mass, self._order, leaf))


def _chain(tokens: Sequence[int]) -> Extend:
    """Return the request for a prompt: each token below the one before."""
    return Extend(
        tokens=np.array(tokens, np.int32),
        parents=chain(len(tokens)),
        wants=[Logits(np.array([len(tokens) - 1], np.int32))],
    )
