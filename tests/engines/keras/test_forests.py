"""Token trees against the reference engine: extend, release, reuse, padding, errors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cpm_lm.engines.base import Engine
from cpm_lm.engines.keras.buckets import ROWS
from cpm_lm.engines.select import open_engine
from cpm_lm.errors import CapacityError, RequestError
from tests.support.random_forests import close, compare_random_calls

pytestmark = pytest.mark.keras


@pytest.fixture(scope="module")
def oracle(tiny: Path) -> Engine:
    return open_engine(tiny, engine="reference")


@pytest.mark.parametrize("seed", [0, 1])
def test_random_forests_with_reused_slots(engine, oracle, seed):
    rng = np.random.default_rng(seed)
    ours, theirs = engine.session(48), oracle.session(48)
    compare_random_calls(ours, theirs, rng)


@pytest.mark.parametrize("count", sorted({n + d for n in ROWS for d in (-1, 0, 1)} - {0}))
def test_row_counts_around_the_padded_shapes(engine, oracle, count):
    rng = np.random.default_rng(count)
    tokens = rng.integers(0, 512, count).tolist()
    parents = [-1, *(max(-1 - count, -2 - i // 3) for i in range(count - 1))]
    got = engine.session(300).extend(tokens, parents, [0, count - 1])[1]
    assert close(got, oracle.session(300).extend(tokens, parents, [0, count - 1])[1])


def test_the_cache_grows_while_nodes_are_live(engine, oracle):
    ours, theirs = engine.session(600), oracle.session(600)
    first = [session.extend([7, 8, 9], [-1, -2, -3])[0][-1:] for session in (ours, theirs)]
    for session in (ours, theirs):
        session.extend([5] * 400, [-1] * 400)
    got, wanted = (
        session.extend([3], last)[1] for session, last in zip((ours, theirs), first, strict=True)
    )
    assert close(got, wanted)


def test_siblings_do_not_attend_to_each_other(engine):
    session = engine.session(16)
    root = session.extend([1], [-1])[0]
    _, alone = session.extend([20], root)
    _, among = session.extend([30, 20, 40], np.repeat(root, 3), [1])
    assert close(among, alone)


def test_no_logits_if_none_are_requested(engine):
    _, logits = engine.session(4).extend([1, 2], [-1, -2], logits_at=[])
    assert logits.shape == (0, 512)


def test_logits_in_any_order_and_more_than_once(engine, oracle):
    at = [2, 0, 1, 2] * 80
    got, wanted = (e.session(4).extend([1, 2, 3], [-1, -2, -2], at)[1] for e in (engine, oracle))
    assert got.shape == (320, 512)
    assert close(got, wanted)


@pytest.mark.parametrize(
    ("tokens", "parents", "error"),
    [
        ([512], [-1], RequestError),
        ([1], [6], RequestError),
        ([1] * 9, [-1] * 9, CapacityError),
    ],
)
def test_an_error_leaves_the_session_unchanged(engine, tokens, parents, error):
    session = engine.session(8)
    nodes, _ = session.extend([1, 2, 3], [-1, -2, -3])
    _, before = session.extend([4], nodes[-1:])
    with pytest.raises(error):
        session.extend(tokens, parents)
    assert session.live == 4
    _, after = session.extend([4], nodes[-1:])
    assert close(after, before)


def test_a_failed_computation_leaves_the_session_unchanged(engine, monkeypatch):
    session = engine.session(8)
    nodes, _ = session.extend([1, 2], [-1, -2])
    _, before = session.extend([4], nodes[-1:])

    def fail(*_):
        raise MemoryError

    with monkeypatch.context() as patched:
        patched.setattr(engine.program, "logits", fail)
        with pytest.raises(MemoryError):
            session.extend([5, 6], [-1, -2])
    assert session.live == 3
    _, after = session.extend([4], nodes[-1:])
    assert close(after, before)
