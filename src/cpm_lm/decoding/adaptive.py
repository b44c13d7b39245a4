"""Samples drawn in rounds, until there are enough.

Sample i is the text that it is when all are drawn at once, and the prompt is computed once; what
texts of different rounds have in common after it is computed in each of them. Knows token ids;
does not know what makes enough.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from cpm_lm.decoding.protocol import Algorithm, Extend
from cpm_lm.decoding.rng import Independent
from cpm_lm.decoding.sampling import Continuation, Limits, OnEnd, OnToken, Sampled, sample
from cpm_lm.distributions.rules import Rules
from cpm_lm.engines.forest import chain
from cpm_lm.errors import CapacityError, RequestError

__all__ = ["sample_until"]

FIRST = 16
"""Samples of the first round; each of the others doubles what there is."""


def sample_until(
    prompt: Sequence[int],
    n: int,
    *,
    rules: Rules,
    seed: int,
    limits: Limits,
    enough: Callable[[], bool],
    on_token: OnToken,
    on_end: OnEnd,
) -> Algorithm[Sampled]:
    """Draw up to n independent continuations of a prompt.

    Args:
        prompt: and the others: as for `sample`.
        n: the most that are drawn.
        rules: how logits become the distribution drawn from.
        seed: of the draws.
        limits: what bounds the samples; a context never slides here.
        enough: asked after each round whether to end.
        on_token: called with each token of each sample; returns whether the sample has ended.
        on_end: called with a sample for which no token will come.

    Raises:
        RequestError: `limits` asks for a sliding context.
        CapacityError: the capacity does not hold one sample.
    """
    if limits.slide:
        raise RequestError("overflow is 'slide'; samples drawn in rounds need 'stop'")
    *above, last = prompt
    if len(above) + 1 > limits.capacity:
        raise CapacityError(f"the prompt needs {len(prompt)} nodes, of {limits.capacity} in all")
    parent = -1
    if above:
        reply = yield Extend(
            tokens=np.array(above, np.int32),
            parents=chain(len(above)),
        )
        parent = int(reply.nodes[-1])
    below = replace(
        limits,
        n_positions=limits.n_positions - len(above),
        capacity=limits.capacity - len(above),
    )
    drawn: list[Continuation] = []
    root: list[int] = []
    rows, unmerged = len(above), 0
    while len(drawn) < n and not (drawn and enough()):
        start = len(drawn)
        more = sample(
            [last],
            min(n - start, start or FIRST),
            rules=rules,
            source=Independent(seed, first=start),
            limits=below,
            on_token=lambda i, token, start=start: on_token(start + i, token),  # type: ignore[misc]
            on_end=lambda i, start=start: on_end(start + i),  # type: ignore[misc]
        )
        sampled, root = yield from _under(parent, more, root)
        drawn += sampled.continuations
        rows += sampled.rows
        unmerged += sampled.rows_unmerged + len(above) * len(sampled.continuations)
    return Sampled(drawn, rows, unmerged)


def _under(
    parent: int, algorithm: Algorithm[Sampled], release: Sequence[int]
) -> Algorithm[tuple[Sampled, list[int]]]:
    """Let an algorithm's one root hang below a node, in place of the nodes to release.

    Returns:
        the result and the root, which still lives.
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
