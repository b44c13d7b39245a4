"""Draw samples in rounds, until a condition holds.

Sample i is equal to sample i of one large round, on the native engine to the bit; on others as far
as their rounding allows, see `sampling`. The prompt is computed once; prefixes that
samples of different rounds share after the prompt are computed in each round. Knows token ids;
does not know the condition.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from cpm_lm.decoding.penalties import PathFilters
from cpm_lm.decoding.protocol import Algorithm, Extend
from cpm_lm.decoding.rng import Independent
from cpm_lm.decoding.sampling import Continuation, Limits, OnEnd, OnToken, Sampled, sample
from cpm_lm.distributions.rules import Rules
from cpm_lm.engines.forest import chain
from cpm_lm.errors import CapacityError, RequestError

__all__ = ["sample_until"]

FIRST_ROUND = 16
"""Samples of the first round; each later round doubles the total."""


def sample_until(
    prompt: Sequence[int],
    n: int,
    *,
    rules: Rules,
    seed: int,
    limits: Limits,
    filters: PathFilters | None = None,
    enough: Callable[[], bool],
    on_token: OnToken,
    on_end: OnEnd,
) -> Algorithm[Sampled]:
    """Draw up to n independent continuations of a prompt, in rounds.

    Args:
        prompt: token ids, 1 to n_positions.
        n: the maximum number of samples.
        rules: the sampling rules.
        seed: the seed of the draws.
        limits: the limits of the samples; `slide` is not supported.
        filters: those that look at a path.
        enough: called after each round; returns whether to stop.
        on_token: called with each token of each sample; returns whether the sample has ended.
        on_end: called once for each sample, after its last token.

    Raises:
        RequestError: `limits` asks for a sliding context.
        CapacityError: the capacity does not hold one sample.
    """
    if limits.slide:
        raise RequestError("overflow is 'slide'; samples drawn in rounds need 'stop'")
    # Each round computes the last token again: its distribution is what the round draws from.
    *shared, last = prompt
    if len(shared) + 1 > limits.capacity:
        raise CapacityError(
            "the prompt needs {n_prompt} nodes, of {capacity} in all",
            n_prompt=len(prompt),
            capacity=limits.capacity,
        )
    parent = -1
    if shared:
        reply = yield Extend(
            tokens=np.array(shared, np.int32),
            parents=chain(len(shared)),
        )
        parent = int(reply.nodes[-1])
    round_limits = replace(
        limits,
        n_positions=limits.n_positions - len(shared),
        capacity=limits.capacity - len(shared),
    )
    drawn: list[Continuation] = []
    root: list[int] = []
    rows, unmerged = len(shared), 0
    while len(drawn) < n and not (drawn and enough()):
        start = len(drawn)
        more = sample(
            [last],
            min(n - start, start or FIRST_ROUND),
            rules=rules,
            source=Independent(seed, first=start),
            limits=round_limits,
            filters=filters,
            before=shared,
            on_token=lambda i, token, start=start: on_token(start + i, token),  # type: ignore[misc]
            on_end=lambda i, start=start: on_end(start + i),  # type: ignore[misc]
        )
        sampled, root = yield from _below(parent, more, root)
        drawn += sampled.continuations
        rows += sampled.rows
        unmerged += sampled.rows_unmerged + len(shared) * len(sampled.continuations)
    return Sampled(drawn, rows, unmerged)


def _below(
    parent: int, algorithm: Algorithm[Sampled], release: Sequence[int]
) -> Algorithm[tuple[Sampled, list[int]]]:
    """Run an algorithm of one root with this root as a child of a live node.

    Args:
        parent: the node, or -1.
        algorithm: not started; its first request is the root.
        release: nodes to release first: the root of the round before.

    Returns:
        the result, and the root's node, which is still live.
    """
    request = replace(
        next(algorithm),
        parents=np.array([parent], np.int32),
        release=np.array(release, np.int32),
    )
    root: list[int] = []
    while True:
        reply = yield request
        root = root or reply.nodes.tolist()
        try:
            request = algorithm.send(reply)
        except StopIteration as stop:
            result: Sampled = stop.value
            return result, root
