"""Best-first search for the exact distribution of answers: the likeliest prefixes come first.

Knows token ids, probabilities and a function from ids to an answer; does not know text, nor how
answers are compared.

Every text that the rules allow has a probability. The search assigns this probability (the text's
mass) to an answer or to the length limit; the rest is unexplored. So the mass found for an answer
is a lower bound of its probability, and this plus the unexplored mass is an upper bound.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from cpm_lm.decoding.frontier import NO_ANSWER, AnswerOf, Found, Frontier, row_bytes
from cpm_lm.decoding.penalties import PathFilters
from cpm_lm.decoding.protocol import Algorithm, Extend
from cpm_lm.decoding.sampling import Limits
from cpm_lm.distributions.rules import Rules
from cpm_lm.engines.forest import chain
from cpm_lm.engines.wants import Logits
from cpm_lm.errors import CapacityError, RequestError

__all__ = ["NO_ANSWER", "Found", "best_first", "row_bytes"]


def best_first(
    prompt: Sequence[int],
    *,
    rules: Rules,
    limits: Limits,
    answer_of: AnswerOf,
    rows: int,
    filters: PathFilters | None = None,
    tolerance: float = 1e-4,
    width: int = 64,
    on_found: Callable[[Found], None] | None = None,
) -> Algorithm[Found]:
    """Enumerate the continuations of a prompt, the likeliest prefixes first.

    The children of computed rows take `row_bytes` for each node of the capacity, and one row of
    the vocabulary. Where there are more, the lightest are dropped, and stay unexplored. The others
    come first, so the result is the same unless the search gets through all that are kept; then it
    ends by its budget.

    Args:
        prompt: token ids, 1 to n_positions.
        rules: the sampling rules, which define the distribution.
        limits: the length limit, the context and the capacity; `slide` is not supported.
        answer_of: the answer of a text.
        rows: the budget: the maximum number of forward rows, the prompt's included.
        filters: those that look at a path; they belong to the distribution as the rules do.
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
        raise CapacityError(
            "the prompt needs {n_prompt} nodes, of {capacity} in all",
            n_prompt=len(prompt),
            capacity=limits.capacity,
        )
    longest = limits.longest(len(prompt))
    state = Frontier(limits, rules, answer_of, longest=longest, tolerance=tolerance)
    if filters and filters.active:
        state.filter_paths(filters, prompt)
    left = min(rows, limits.capacity) - len(prompt)  # no node is released before the end
    if left < 0:
        return state.found(0, "budget")
    reply = yield _prefill(prompt)
    state.add([((), 1.0)], reply.nodes[-1:].tolist(), reply.answers[0])
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
        state.add(paths, reply.nodes.tolist(), reply.answers[0])
        computed, left = computed + len(batch), left - len(batch)


def _prefill(tokens: Sequence[int]) -> Extend:
    """Return the request that computes a prompt and the logits after it."""
    return Extend(
        tokens=np.array(tokens, np.int32),
        parents=chain(len(tokens)),
        wants=[Logits(np.array([len(tokens) - 1], np.int32))],
    )
