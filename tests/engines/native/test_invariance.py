"""The bits of a node's logits depend neither on the other rows nor on the number of threads."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cpm_lm.engines.base import Session
from cpm_lm.engines.forest import chain
from cpm_lm.engines.native.engine import NativeEngine
from tests.support.examples import examples
from tests.support.random_forests import random_parents
from tests.support.random_models import both, shape

ELEMENTS = ["f32", "f16", "bf16", "q8", "q4"]
CONFIG = shape(n_embd=80, n_head=8, n_positions=128, vocab_size=203)
ENGINES = {
    (element, threads): both(CONFIG, element, threads=threads)[0]
    for element in ELEMENTS
    for threads in (1, 2, 3)
}


def grow(session: Session, tokens: np.ndarray, parents: np.ndarray, cuts: list[int]) -> np.ndarray:
    """All logits of a forest; `parents` are indices into it; each call ends at one of `cuts`."""
    nodes, logits, start = np.zeros(len(tokens), np.int32), [], 0
    for stop in [*cuts, len(tokens)]:
        if stop == start:
            continue
        part = parents[start:stop]
        earlier = np.where(part >= 0, nodes[np.maximum(part, 0)], -1)
        above = np.where(part >= start, -2 - (part - start), earlier).astype(np.int32)
        nodes[start:stop], found = session.extend(
            tokens[start:stop], above, list(range(stop - start))
        )
        logits.append(found)
        start = stop
    return np.concatenate(logits)


@settings(max_examples=examples(40))
@given(
    seed=st.integers(0, 2**32 - 1),
    count=st.integers(1, 70),
    cuts=st.lists(st.integers(0, 70), max_size=8),
    element=st.sampled_from(ELEMENTS),
    threads=st.sampled_from([1, 2, 3]),
    slice_tokens=st.sampled_from([1, 2, 5, 16, 256]),
)
def test_slicing_and_threads_change_no_bit(seed, count, cuts, element, threads, slice_tokens):
    rng = np.random.default_rng(seed)
    parents = np.array([max(-1, -2 - p) for p in random_parents(rng, [], count)])
    tokens = rng.integers(0, CONFIG.vocab_size, count, np.int32)
    whole = grow(ENGINES[element, 1].session(80), tokens, parents, [])
    session = ENGINES[element, threads].session(80)
    session.slice_tokens = slice_tokens
    pieces = grow(session, tokens, parents, sorted(min(cut, count) for cut in cuts))
    assert np.array_equal(whole, pieces)


@pytest.mark.parametrize("element", ELEMENTS)
@pytest.mark.parametrize("rows", [2, 3, 4, 7, 33, 256, 300])
def test_a_row_is_the_same_alone_and_among_many(element, rows):
    engine, wide = ENGINES[element, 1], ENGINES[element, 3]
    prompt = list(range(60))
    tokens = np.random.default_rng(rows).integers(0, CONFIG.vocab_size, rows, np.int32)
    among, alone = wide.session(400), engine.session(400)
    last = among.extend(prompt, chain(60))[0][-1:]
    _, together = among.extend(tokens, np.repeat(last, rows), list(range(rows)))
    last = alone.extend(prompt, chain(60))[0][-1:]
    for row in sorted({0, 1, rows // 2, rows - 1}):
        assert np.array_equal(alone.extend(tokens[row : row + 1], last)[1][0], together[row])


def test_logits_do_not_depend_on_slots():
    session = ENGINES["f32", 2].session(300)
    nodes, first = session.extend([5, 6, 7], chain(3), [0, 1, 2])
    filler = session.extend([1] * 150, [-1] * 150)[0]
    session.release(nodes[:1])
    session.release(filler[::2])
    _, again = session.extend([5, 6, 7], chain(3), [0, 1, 2])
    assert np.array_equal(first, again)


def decode(engine: NativeEngine, seed: int, out: dict[int, np.ndarray]) -> None:
    """Generate 40 greedy tokens; put all logits into `out`."""
    session = engine.session(64)
    nodes, logits = session.extend(list(range(seed, seed + 8)), chain(8))
    rows = [logits]
    for _ in range(40):
        nodes, logits = session.extend([int(logits.argmax())], nodes[-1:])
        rows.append(logits)
    out[seed] = np.concatenate(rows)


def test_sessions_in_several_threads_at_once():
    engine = ENGINES["f16", 2]
    alone: dict[int, np.ndarray] = {}
    together: dict[int, np.ndarray] = {}
    for seed in range(4):
        decode(engine, seed, alone)
    workers = [threading.Thread(target=decode, args=(engine, i, together)) for i in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert all(np.array_equal(alone[seed], together[seed]) for seed in range(4))
