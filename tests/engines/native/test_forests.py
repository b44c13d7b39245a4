"""The native engine against the reference engine: trees, odd shapes, long contexts."""

from __future__ import annotations

import numpy as np
import pytest

from cpm_lm.engines.forest import chain
from cpm_lm.errors import CapacityError, RequestError
from tests.support.random_forests import close, compare_random_calls
from tests.support.random_models import both, shape

SHAPES = {
    "heads of 10": shape(n_embd=40, n_head=4),
    "width 80": shape(n_embd=80, n_head=8, vocab_size=1000),
    "width 96": shape(n_embd=96, n_head=4, vocab_size=1000),
    "one head of one": shape(n_embd=1, n_head=1, vocab_size=1, n_layer=1),
    "odd everything": shape(n_embd=33, n_head=3, vocab_size=257, n_layer=3),
}


@pytest.mark.parametrize("element", ["f32", "f16", "bf16"])
@pytest.mark.parametrize("config", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("rows", [1, 2, 3, 4, 5, 31, 257])
def test_odd_shapes_and_row_counts(config, element, rows):
    rng = np.random.default_rng(rows)
    engine, oracle = both(config, element, threads=2)
    prompt = rng.integers(0, config.vocab_size, 9, np.int32)
    tokens = rng.integers(0, config.vocab_size, rows, np.int32)
    results = []
    for session in (e.session(600) for e in (engine, oracle)):
        nodes, _ = session.extend(prompt, chain(9))
        parents = np.resize(nodes, rows)
        results.append(session.extend(tokens, parents, list(range(rows)))[1])
    assert close(*results)


@pytest.mark.parametrize("seed", range(4))
def test_random_forests_with_released_and_reused_slots(seed):
    rng = np.random.default_rng(seed)
    engine, oracle = both(shape(n_positions=40), seed=seed, threads=2)
    ours, theirs = engine.session(48), oracle.session(48)
    compare_random_calls(ours, theirs, rng)


def test_a_whole_context_of_1024():
    engine, oracle = both(shape(n_positions=1024))
    tokens = np.random.default_rng(0).integers(0, 61, 1024, np.int32)
    at = [0, 255, 256, 511, 1000, 1023]
    got, wanted = (e.session(1024).extend(tokens, chain(1024), at)[1] for e in (engine, oracle))
    assert close(got, wanted)


def test_the_cache_grows_while_nodes_are_live():
    engine, oracle = both(shape())
    ours, theirs = engine.session(3000), oracle.session(3000)
    last = {s: s.extend([7, 8, 9], chain(3))[0][-1:] for s in (ours, theirs)}
    for _ in range(4):
        for session in (ours, theirs):
            session.extend([5] * 700, [-1] * 700)
        got, wanted = (s.extend([3], last[s])[1] for s in (ours, theirs))
        assert close(got, wanted)


def test_siblings_do_not_attend_to_each_other():
    session = both(shape())[0].session(16)
    root = session.extend([1], [-1])[0]
    _, alone = session.extend([20], root)
    _, among = session.extend([30, 20, 40], np.repeat(root, 3), [1])
    assert np.array_equal(among, alone)


def test_no_logits_if_none_are_requested():
    assert both(shape())[0].session(4).extend([1, 2], [-1, -2], logits_at=[])[1].shape == (0, 61)


def test_logits_in_any_order_and_more_than_once():
    at = [2, 0, 1, 2] * 80
    got, wanted = (e.session(4).extend([1, 2, 3], [-1, -2, -2], at)[1] for e in both(shape()))
    assert got.shape == (320, 61)
    assert close(got, wanted)


def test_returned_arrays_are_not_overwritten():
    session = both(shape())[0].session(8)
    nodes, first = session.extend([1], [-1])
    kept = first.copy()
    session.extend([2], nodes)
    assert np.array_equal(first, kept)


@pytest.mark.parametrize(
    ("tokens", "parents", "error"),
    [([61], [-1], RequestError), ([1], [6], RequestError), ([1] * 9, [-1] * 9, CapacityError)],
)
def test_an_error_leaves_the_session_unchanged(tokens, parents, error):
    session = both(shape())[0].session(8)
    nodes, _ = session.extend([1, 2, 3], chain(3))
    _, before = session.extend([4], nodes[-1:])
    with pytest.raises(error):
        session.extend(tokens, parents)
    assert session.live == 4
    _, after = session.extend([4], nodes[-1:])
    assert np.array_equal(after, before)
