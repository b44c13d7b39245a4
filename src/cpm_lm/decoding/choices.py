"""The exact probability of each of a few given answers: the small trie of their id paths.

Knows token ids, probabilities and a function that says what each next token decides; does not know
text.

Every token path that may still become an answer is one row. All other tokens of a row are decided
at once, so the sum over all id paths of an answer needs no enumeration of texts.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cpm_lm.decoding.frontier import MARGIN, NO_ANSWER, Found, Reason
from cpm_lm.decoding.limits import Limits
from cpm_lm.decoding.penalties import History, PathFilters
from cpm_lm.decoding.protocol import Algorithm, Extend
from cpm_lm.distributions.draw import probabilities
from cpm_lm.distributions.rules import Rules
from cpm_lm.engines.forest import chain
from cpm_lm.engines.wants import Logits
from cpm_lm.errors import CapacityError
from cpm_lm.shapes import Float32

__all__ = ["MAX_ROWS", "Branch", "choose"]

MAX_ROWS = 4096
"""The rows that a vote among choices may compute by default, besides the prompt's."""
LIGHTEST = 1e-9
"""A path that is less likely stays unexplored: it is far below what a share shows."""
EXPLORED = 1e-4
"""The search counts as complete where less than this mass is unexplored."""
WIDTH = 64
"""The maximum number of rows in one request."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Branch:
    """What the next token decides, after a text. Answers may be NO_ANSWER."""

    ended: Hashable
    """The answer if the text ends here."""
    default: Hashable
    """The answer after every token that is in neither table."""
    decided: Mapping[int, Hashable]
    opened: Mapping[int, Hashable]
    """The tokens after which the answer is still open, and the state they lead to."""


@dataclass(order=True)
class _Path:
    """A path to compute, ordered by its mass."""

    rank: tuple[float, int]
    """Minus its mass, and the number of the path, which breaks ties."""
    token: int
    parent: int
    """The node above the token."""
    length: int
    """The tokens after the prompt."""
    state: Hashable
    history: History | None


def choose(
    prompt: Sequence[int],
    *,
    rules: Rules,
    limits: Limits,
    branch_of: Callable[[Hashable], Branch],
    start: Hashable,
    rows: int,
    filters: PathFilters | None = None,
    on_found: Callable[[Found], None] | None = None,
) -> Algorithm[Found]:
    """Compute the probability of each answer, the likeliest paths first.

    Args:
        prompt: token ids, 1 to n_positions.
        rules: the sampling rules, which define the distribution.
        limits: the length limit, the context and the capacity.
        branch_of: what the next token decides, by the state of a text.
        start: the state of the empty text.
        rows: the budget: the maximum number of forward rows, the prompt's included.
        filters: those that look at a path.
        on_found: called before each request with the present state.

    Raises:
        CapacityError: the capacity does not hold the prompt.
    """
    if len(prompt) > limits.capacity:
        raise CapacityError(
            "the prompt needs {n_prompt} nodes, of {capacity} in all",
            n_prompt=len(prompt),
            capacity=limits.capacity,
        )
    search = _Search(rules, limits, branch_of, limits.longest(len(prompt)), filters)
    left = min(rows, limits.capacity) - len(prompt)
    if left < 0:
        return search.found(0)
    last = np.array([len(prompt) - 1], np.int32)
    reply = yield Extend(
        tokens=np.array(prompt, np.int32), parents=chain(len(prompt)), wants=[Logits(last)]
    )
    history = filters.start(prompt) if filters and filters.active else None
    root = _Path((-1.0, 0), -1, -1, 0, start, history)
    search.add([root], reply.nodes[-1:].tolist(), reply.answers[0])
    computed = len(prompt)
    while batch := search.take(min(WIDTH, left)):
        if on_found:
            on_found(search.found(computed))
        reply = yield Extend(
            tokens=np.array([path.token for path in batch], np.int32),
            parents=np.array([path.parent for path in batch], np.int32),
            wants=[Logits(np.arange(len(batch), dtype=np.int32))],
        )
        search.add(batch, reply.nodes.tolist(), reply.answers[0])
        computed, left = computed + len(batch), left - len(batch)
    return search.found(computed)


class _Search:
    """The masses found, and a heap of the paths to compute."""

    def __init__(
        self,
        rules: Rules,
        limits: Limits,
        branch_of: Callable[[Hashable], Branch],
        longest: int,
        filters: PathFilters | None,
    ) -> None:
        self._rules, self._limits, self._branch_of = rules, limits, branch_of
        self._longest, self._filters = longest, filters
        self._heap: list[_Path] = []
        self._pushes = 0
        self._masses: dict[Hashable, float] = {}
        self._cut_off = self._banned = 0.0

    def take(self, size: int) -> list[_Path]:
        """Return the likeliest paths to compute, at most so many."""
        return [heapq.heappop(self._heap) for _ in range(min(size, len(self._heap)))]

    def add(
        self, paths: Sequence[_Path], nodes: Sequence[int], logits: Float32[np.ndarray, "R V"]
    ) -> None:
        """Assign the mass of each next token of computed paths, or push it to the heap."""
        for i, (path, node) in enumerate(zip(paths, nodes, strict=True)):
            edits = self._filters.edits([path.history]) if path.history and self._filters else []
            (shares,) = probabilities(logits[i : i + 1], self._rules, edits)
            branch, mass = self._branch_of(path.state), -path.rank[0]
            if not shares.any():  # the filters have banned every token, so the text ends
                self._assign(branch.ended, mass)
                self._banned += mass
                continue
            listed = dict.fromkeys(self._limits.end_ids, branch.ended)
            listed |= {t: a for t, a in branch.decided.items() if t not in listed}
            for token, answer in listed.items():
                self._assign(answer, mass * float(shares[token]))
            opened = {t: s for t, s in branch.opened.items() if t not in listed}
            for token, state in opened.items():
                self._open(path, node, token, state, mass * float(shares[token]))
            shares[[*listed, *opened]] = 0
            self._assign(branch.default, mass * float(shares.sum()))

    def found(self, rows: int) -> Found:
        """Return the present state of the search."""
        unexplored = max(0.0, 1 - sum(self._masses.values()) - self._cut_off)
        descending = dict(sorted(self._masses.items(), key=lambda item: -item[1]))
        first, second = (*(m for a, m in descending.items() if a is not None), 0.0, 0.0)[:2]
        reason: Reason = "explored" if unexplored < EXPLORED else "budget"
        if first > second + unexplored + MARGIN:
            reason = "proven"
        return Found(descending, unexplored, self._cut_off, rows, reason, self._banned)

    def _open(self, path: _Path, node: int, token: int, state: Hashable, mass: float) -> None:
        """Push a path that is still open, or give up on it."""
        if path.length + 1 == self._longest:
            self._cut_off += mass
        elif mass >= LIGHTEST:
            self._pushes += 1
            history = path.history
            if history and self._filters:
                history = self._filters.extended(history, token)
            rank = (-mass, self._pushes)
            child = _Path(rank, token, node, path.length + 1, state, history)
            heapq.heappush(self._heap, child)

    def _assign(self, answer: Hashable, mass: float) -> None:
        key = None if answer is NO_ANSWER else answer
        if mass:
            self._masses[key] = self._masses.get(key, 0.0) + mass
