"""An argument that does not fit raises ValueError before any kernel runs; nothing is written."""

from __future__ import annotations

import numpy as np
import pytest

from cpm_lm import _native as native

X = np.ones((4, 6), np.float32)
OUT = np.zeros((4, 5), np.float32)
VECTOR = np.ones(6, np.float32)


@pytest.fixture
def small() -> native.Matrix:
    return native.Matrix(np.ones((6, 5), np.float32), "f32")


def frozen(array: np.ndarray) -> np.ndarray:
    array = array.copy()
    array.flags.writeable = False
    return array


@pytest.mark.parametrize(
    ("x", "out", "message"),
    [
        (X.astype(np.float64), OUT, "x holds float64; float32 was expected"),
        (X.astype(np.float16), OUT, "x holds float16"),
        (X.astype(">f4"), OUT, "x holds elements of format '>f'"),
        (X.tolist(), OUT, "x is no array"),
        (X[0], OUT, r"x has shape \[6\]; 2 dimensions"),
        (X[:, :5].copy(), OUT, r"x has shape \[4, 5\]; \[4, 6\] was expected"),
        (np.ones((4, 12), np.float32)[:, ::2], OUT, "x is not C-contiguous"),
        (np.asfortranarray(X), OUT, "x is not C-contiguous"),
        (X, OUT[:3], r"out has shape \[3, 5\]"),
        (X, np.zeros((4, 6), np.float32), r"out has shape \[4, 6\]"),
        (X, frozen(OUT), "out is read-only"),
        (
            np.zeros(97, np.uint8)[1:].view(np.float32).reshape(4, 6),
            OUT,
            "x does not begin at a multiple",
        ),
    ],
)
def test_linear(pool, small, x, out, message):
    with pytest.raises(ValueError, match=message):
        native.linear(pool, x, small, out)
    assert (OUT == 0).all()


def test_linear_refuses_overlap(pool):
    weights = native.Matrix(np.ones((6, 6), np.float32), "f32")
    memory = np.ones((8, 6), np.float32)
    with pytest.raises(ValueError, match="overlap"):
        native.linear(pool, memory[:4], weights, memory[3:7])
    assert (memory == 1).all()


@pytest.mark.parametrize(
    ("values", "element", "bias", "message"),
    [
        (np.ones((6, 5), np.float32), "f16", None, "values holds float32; float16"),
        (np.ones((6, 5), np.float16), "bf16", None, "values holds float16; uint16"),
        (np.ones((6, 5), np.int16), "bf16", None, "format 'h'; uint16"),
        (np.ones((6, 5), np.float32), "q8", None, "element is 'q8'"),
        (np.ones((0, 5), np.float32), "f32", None, "no elements"),
        (np.ones((6, 5, 1), np.float32), "f32", None, "2 dimensions"),
        (np.ones((6, 5), np.float32), "f32", np.ones(6, np.float32), r"\[5\] was expected"),
        (np.ones((6, 5), np.float32), "f32", np.ones(5, np.float16), "bias holds float16"),
    ],
)
def test_matrix(values, element, bias, message):
    with pytest.raises(ValueError, match=message):
        native.Matrix(values, element, bias=bias)


@pytest.mark.parametrize(
    ("offsets", "slots", "message"),
    [
        ([0, 2, 2, 4], [0, 1, 2, 3], "offsets does not increase after entry 1"),
        ([0, 3, 2, 4], [0, 1, 2, 3], "offsets does not increase after entry 1"),
        ([1, 2, 4], [0, 1, 2, 3], "offsets runs from 1 to 4; 0 to 4"),
        ([0, 2, 5], [0, 1, 2, 3], "offsets runs from 0 to 5; 0 to 4"),
        ([0, 2], [0, 1, 2, 3], "offsets runs from 0 to 2"),
        ([0, 9, 4], [0, 1, 2, 3], "offsets does not increase"),
        ([], [], "offsets is empty"),
        ([0, 2, 4], [0, -1, 2, 3], "slots holds -1"),
        ([0, 2, 4], [0, 3, 2, 3], "two paths end in slot 3"),
    ],
)
def test_paths(offsets, slots, message):
    with pytest.raises(ValueError, match=message):
        native.Paths(np.array(offsets, np.int64), np.array(slots, np.int32))


def test_paths_want_their_own_types():
    with pytest.raises(ValueError, match="offsets holds int32; int64"):
        native.Paths(np.array([0, 1], np.int32), np.array([0], np.int32))
    with pytest.raises(ValueError, match="slots holds int64; int32"):
        native.Paths(np.array([0, 1], np.int64), np.array([0], np.int64))


@pytest.mark.parametrize(
    ("layer", "slot", "rows", "width", "message"),
    [
        (2, 0, 1, 12, "layer is 2; the cache has 2"),
        (-1, 0, 1, 12, "layer is -1"),
        (0, 64, 1, 12, "slot 64; the cache has 64"),
        (0, 2**31 - 1, 1, 12, "slot 2147483647"),
        (0, 0, 2, 12, r"qkv has shape \[2, 36\]; \[1, 36\]"),
        (0, 0, 1, 11, r"qkv has shape \[1, 33\]; \[1, 36\]"),
    ],
)
def test_attention(pool, layer, slot, rows, width, message):
    cache = native.KeyValueCache(2, 3, 4, "f32")
    cache.reserve(1)
    paths = native.Paths(np.array([0, 1], np.int64), np.array([slot], np.int32))
    qkv, out = np.ones((rows, 3 * width), np.float32), np.zeros((rows, width), np.float32)
    with pytest.raises(ValueError, match=message):
        native.attention(pool, qkv, cache, layer, paths, 1.0, out)
    assert (out == 0).all()


@pytest.mark.parametrize(
    ("sizes", "element", "message"),
    [
        ((0, 3, 4), "f32", "1 to 65536"),
        ((2, 3, 2**40), "f32", "1 to 65536"),
        ((2, 3, 4), "bf16", "f32 or f16"),
    ],
)
def test_cache(sizes, element, message):
    layers, heads, head_size = sizes
    with pytest.raises(ValueError, match=message):
        native.KeyValueCache(layers, heads, head_size, element)


def test_memory_that_is_not_there_is_an_error_and_changes_nothing():
    cache = native.KeyValueCache(65536, 65536, 65536, "f32")
    with pytest.raises(MemoryError):
        cache.reserve(1)
    assert cache.slots == 0


@pytest.mark.parametrize("bad", [-1, 6])
@pytest.mark.parametrize("which", ["tokens", "positions"])
def test_embedding(pool, bad, which):
    table = native.Matrix(np.ones((6, 4), np.float32), "f32", transposed=True)
    ids = {"tokens": np.zeros(2, np.int32), "positions": np.zeros(2, np.int32)}
    ids[which][1] = bad
    out = np.zeros((2, 4), np.float32)
    with pytest.raises(ValueError, match=rf"{which}\[1\] is {bad}; expected 0 to 5"):
        native.embedding(pool, ids["tokens"], ids["positions"], table, table, out)
    assert (out == 0).all()


def test_layer_norm(pool):
    with pytest.raises(ValueError, match="weight has shape"):
        native.layer_norm(pool, X, VECTOR[:5].copy(), VECTOR, 1e-5, X.copy())
    memory = np.ones((5, 6), np.float32)
    with pytest.raises(ValueError, match="overlap in part"):
        native.layer_norm(pool, memory[:4], VECTOR, VECTOR, 1e-5, memory[1:])


def test_gelu(pool):
    with pytest.raises(ValueError, match="kind is 'relu'"):
        native.gelu(pool, X.copy(), "relu")  # type: ignore[arg-type]  # wrong on purpose


@pytest.mark.parametrize("threads", [0, -1, 1025])
def test_threads(threads):
    with pytest.raises(ValueError, match="1 to 1024"):
        native.Pool(threads)


def test_an_unknown_instruction_set():
    with pytest.raises(ValueError, match="'sse9' is unknown or cannot run here"):
        native.Pool(1, "sse9")


@pytest.mark.parametrize(
    ("parents", "nodes", "message"),
    [
        ([-1, 0, 1], [3], "a path leads to slot 3; there are 3"),
        ([-1, 9, 1], [2], "a path leads to slot 9; there are 3"),
        ([-1, 0, 1], [-1], "a path leads to slot -1"),
        ([2, 0, 1], [1], "the parents form a cycle"),
        ([-1, 0, 1], [2, 2], "two paths end in slot 2"),
    ],
)
def test_walking_up(parents, nodes, message):
    with pytest.raises(ValueError, match=message):
        native.Paths.walk(np.array(parents, np.int32), np.array(nodes, np.int32))
