"""Paths scored as one tree have the log-probabilities that each has by itself."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpm_lm.decoding import path_scores as module
from cpm_lm.decoding.path_scores import Path, path_scores, rows_apart
from cpm_lm.decoding.scheduler import run
from tests.support.fakes import FakeEngine, hashed

V = 5
ENGINE = FakeEngine(hashed(V), V)
tokens = st.lists(st.integers(0, 2), min_size=2, max_size=12)


@st.composite
def many_paths(draw: Any) -> list[tuple[tuple[int, ...], int]]:
    """Ids and starts of paths that share beginnings."""
    found: list[list[int]] = []
    for _ in range(draw(st.integers(1, 8))):
        ids = draw(tokens)
        if found and draw(st.booleans()):
            other = draw(st.sampled_from(found))
            ids = other[: draw(st.integers(0, len(other)))] + ids
        found.append(ids)
    return [(tuple(ids), draw(st.integers(1, len(ids) - 1))) for ids in found]


def expected(path: Path) -> list[float]:
    logprobs = []
    for at in range(path.start, len(path.ids)):
        logits = list(hashed(V)(path.ids[:at]))
        whole = math.log(math.fsum(map(math.exp, logits)))
        logprobs.append(logits[path.ids[at]] - whole)
    return logprobs


@given(many_paths(), st.sampled_from([1, 2, 5, 256]))
def test_the_tree_scores_as_each_path_by_itself(
    many: list[tuple[tuple[int, ...], int]], batch: int
) -> None:
    paths = [Path(ids, start) for ids, start in many]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BATCH", batch)
        session = ENGINE.session(max(len(path.ids) for path in paths) + batch)
        found = run(session, path_scores(paths))
    assert session.live == 0
    for path, scores in zip(paths, found.tokens, strict=True):
        assert [score.logprob for score in scores] == pytest.approx(expected(path), abs=1e-6)
    beginnings = {path.ids[:size] for path in paths for size in range(1, len(path.ids))}
    assert found.rows == session.rows == len(beginnings) <= rows_apart(paths)


def test_memory_holds_one_path_and_one_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """All live nodes at once were 4 + 300 x 3 of them."""
    monkeypatch.setattr(module, "BATCH", 8)
    engine = FakeEngine(hashed(400), 400)
    paths = [Path((1, 2, 3, 4, i, i, i, i), 4) for i in range(300)]
    session = engine.session(8 + 8)
    found = run(session, path_scores(paths))
    assert session.most_live <= 16
    assert found.rows == 4 + 300 * 3


def test_the_likeliest_ids_are_those_of_the_same_place() -> None:
    path = Path((1, 2, 0, 3), 2)
    found = run(ENGINE.session(300), path_scores([path], top=2))
    for at, score in zip((2, 3), found.tokens[0], strict=True):
        logits = list(hashed(V)(path.ids[:at]))
        likeliest = sorted(range(V), key=lambda i: (-logits[i], i))[:2]
        assert list(score.top_ids) == likeliest
        best = logits[likeliest[0]] - math.log(math.fsum(map(math.exp, logits)))
        assert score.top_logprobs[0] == pytest.approx(best, abs=1e-6)


def test_one_path_twice_is_computed_once() -> None:
    session = ENGINE.session(300)
    found = run(session, path_scores([Path((1, 2, 3), 1), Path((1, 2, 3), 2)]))
    assert found.rows == 2
    assert found.tokens[0][1:] == found.tokens[1]
