"""The forest against a dictionary of parents."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cpm_lm.engines.forest import Forest
from cpm_lm.errors import CapacityError, RequestError
from tests.support.examples import examples


def ids(*values: int) -> np.ndarray:
    return np.array(values, np.int32)


def path(parents: dict[int, int], node: int) -> list[int]:
    found = []
    while node >= 0:
        found.append(node)
        node = parents[node]
    return found


@pytest.mark.long
@settings(max_examples=examples(60), deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_ancestors_after_extend_release_and_reuse(seed):
    rng = np.random.default_rng(seed)
    forest, parents = Forest(90, 90), dict[int, int]()
    for _ in range(30):
        if parents and rng.random() < 0.3:
            leaving = int(rng.choice(list(parents)))
            forest.release(ids(leaving))
            parents = {n: p for n, p in parents.items() if leaving not in path(parents, n)}
        above = [int(rng.choice([-1, *parents])) for _ in range(int(rng.integers(1, 4)))]
        above = [-2 - i + 1 if i and rng.random() < 0.5 else p for i, p in enumerate(above)]
        if forest.live + len(above) > forest.capacity:
            continue
        nodes = forest.grow(ids(*above)).tolist()
        assert not set(nodes) & set(parents)
        for node, parent in zip(nodes, above, strict=True):
            parents[node] = nodes[-2 - parent] if parent < -1 else parent
        live = ids(*parents)
        visible = forest.visible(live, forest.used)
        for node, seen, depth in zip(parents, visible, forest.depths(live), strict=True):
            assert sorted(np.flatnonzero(seen)) == sorted(path(parents, node))
            assert depth == len(path(parents, node)) - 1
        assert forest.live == len(parents)


def test_the_lowest_free_slot_is_used_first():
    forest = Forest(8, 8)
    forest.grow(ids(-1, -1, -1, -1))
    forest.release(ids(2, 0))
    assert forest.grow(ids(-1, -1, -1)).tolist() == [0, 2, 4]


def test_release_frees_the_descendants():
    forest = Forest(8, 8)
    forest.grow(ids(-1, -2, -3, -2, -1))
    forest.release(ids(1))
    assert forest.live == 3
    with pytest.raises(RequestError, match="node 2 is released, but it is not live"):
        forest.release(ids(2))


def test_a_node_and_its_descendant_may_be_released_together():
    forest = Forest(8, 8)
    forest.grow(ids(-1, -2, -1))
    forest.release(ids(1, 0))
    assert forest.live == 1


@pytest.mark.parametrize(
    ("parents", "error", "message"),
    [
        (ids(3), RequestError, "node 3 is extended, but it is not live"),
        (ids(7), RequestError, "node 7 is extended, but it is not live"),
        (ids(-1, -3), RequestError, r"parents\[1\] is -3, token 1 of this call"),
        (ids(-2), RequestError, "only tokens before token 0"),
        (ids(-1, -1, -1), CapacityError, "3 new tokens do not fit.*2 are left"),
        (ids(2, -2), CapacityError, "position 4 was asked for.*4 positions, 0 to 3"),
    ],
)
def test_a_refused_call_changes_nothing(parents, error, message):
    forest = Forest(5, 4)
    forest.grow(ids(-1, -2, -3))
    forest.grow(ids(-1))
    forest.release(ids(3))
    with pytest.raises(error, match=message):
        forest.grow(parents)
    assert forest.live == 3
    assert forest.grow(ids(2)).tolist() == [3]


def test_releasing_twice_in_one_call_frees_nothing():
    forest = Forest(4, 4)
    forest.grow(ids(-1, -1))
    with pytest.raises(RequestError, match="twice"):
        forest.release(ids(0, 0))
    assert forest.live == 2


def test_a_capacity_of_zero_is_refused():
    with pytest.raises(RequestError, match="at least 1"):
        Forest(0, 4)


def test_an_empty_forest_is_as_small_as_a_new_one() -> None:
    forest = Forest(capacity=300, n_positions=8)
    nodes = forest.grow(np.full(200, -1, np.int32))
    forest.release(nodes[1:])
    assert forest.used == 200
    forest.release(nodes[:1])
    assert (forest.used, forest.live) == (0, 0)
    with pytest.raises(RequestError, match="not live"):
        forest.release(nodes[:1])
    assert forest.grow(np.array([-1, -2], np.int32)).tolist() == [0, 1]
