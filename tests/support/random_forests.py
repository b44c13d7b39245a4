"""Random forests in two engines."""

from __future__ import annotations

import numpy as np

from cpm_lm.engines.base import Session
from tests.support.tolerances import LOGITS


def random_parents(rng: np.random.Generator, live: list[int], count: int) -> list[int]:
    """Parents: roots, live nodes and tokens of the same call."""
    parents = []
    for i in range(count):
        inner = i > 0 and rng.random() < 0.5
        outer = live and rng.random() < 0.8
        parents.append(
            -2 - int(rng.integers(i)) if inner else int(rng.choice(live)) if outer else -1
        )
    return parents


def close(got: np.ndarray, wanted: np.ndarray) -> bool:
    """Return whether float32 logits agree."""
    return bool(np.abs(got - wanted).max() < LOGITS["float32"])


def compare_random_calls(ours: Session, theirs: Session, rng: np.random.Generator) -> None:
    """Extend two sessions by random calls, releasing nodes and using their slots again."""
    live: list[int] = []
    released = 0
    for _ in range(24):
        count = int(rng.integers(1, 9))
        while ours.capacity - ours.live < count:
            leaving = [int(rng.choice(live))]
            ours.release(leaving)
            theirs.release(leaving)
            live = [node for node in live if ours._forest._alive[node]]
            released += 1
        parents = random_parents(rng, live, count)
        tokens = rng.integers(0, ours.config.vocab_size, count).tolist()
        nodes, got = ours.extend(tokens, parents, list(range(count)))
        same, wanted = theirs.extend(tokens, parents, list(range(count)))
        assert nodes.tolist() == same.tolist()
        assert close(got, wanted)
        live += nodes.tolist()
    assert released  # otherwise no slot was reused
