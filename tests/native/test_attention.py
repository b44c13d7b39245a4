"""Tree attention over random forests against float64; a row does not depend on other rows.

`exact` is the readable form of native/kernels/attention.cpp.
"""

from __future__ import annotations

import numpy as np
import pytest

from cpm_lm import _native as native

SLOTS = 300


def random_paths(rng: np.random.Generator, count: int) -> list[list[int]]:
    """A random forest of `count` nodes; for each the nodes from its root to itself."""
    paths: list[list[int]] = []
    for node in range(count):
        parent = int(rng.integers(-1, node)) if node and rng.random() < 0.7 else node - 1
        paths.append([*(paths[parent] if parent >= 0 else []), node])
    return paths


def as_paths(paths: list[list[int]], slots: np.ndarray) -> native.Paths:
    offsets = np.cumsum([0, *map(len, paths)], dtype=np.int64)
    return native.Paths(offsets, np.array([slots[i] for path in paths for i in path], np.int32))


def exact(qkv, paths, heads, kept):
    q, k, v = (part.reshape(len(qkv), heads, -1) for part in np.split(qkv, 3, axis=1))
    k, v = k.astype(kept).astype(np.float64), v.astype(kept).astype(np.float64)
    rows = []
    for row, path in zip(q.astype(np.float64), paths, strict=True):
        scores = np.einsum("nh,snh->ns", row, k[path]) / np.sqrt(q.shape[-1])
        weights = np.exp(scores - scores.max(axis=1, keepdims=True))
        weights /= weights.sum(axis=1, keepdims=True)
        rows.append(np.einsum("ns,snh->nh", weights, v[path]).ravel())
    return np.array(rows)


def forest(heads, head_size, seed, count=120):
    rng = np.random.default_rng(seed)
    qkv = rng.standard_normal((count, 3 * heads * head_size)).astype(np.float32)
    return qkv, random_paths(rng, count), rng.permutation(SLOTS)[:count]


def attend(pool, cache, layer, qkv, paths, scale):
    out = np.full((len(qkv), qkv.shape[1] // 3), np.nan, np.float32)
    native.attention(pool, qkv, cache, layer, paths, scale, out)
    return out


@pytest.mark.parametrize(("element", "kept"), [("f32", np.float32), ("f16", np.float16)])
@pytest.mark.parametrize("head_size", [1, 10, 32, 64, 80])
def test_random_forests(pool, head_size, element, kept):
    heads = 3
    for seed in range(3):
        qkv, paths, slots = forest(heads, head_size, seed)
        cache = native.KeyValueCache(2, heads, head_size, element)
        cache.reserve(SLOTS)
        out = attend(pool, cache, 1, qkv, as_paths(paths, slots), head_size**-0.5)
        assert np.abs(out - exact(qkv, paths, heads, kept)).max() < 1e-5


@pytest.mark.parametrize("element", ["f32", "f16"])
@pytest.mark.parametrize("head_size", [10, 64])
def test_slices_threads_and_slots_change_no_bit(isa, head_size, element):
    heads = 4
    qkv, paths, slots = forest(heads, head_size, 7)
    whole = None
    for threads, size in ((1, 120), (2, 120), (3, 120), (2, 1), (2, 2), (3, 7), (1, 50)):
        pool = native.Pool(threads, isa)
        cache = native.KeyValueCache(1, heads, head_size, element)
        parts = []
        for start in range(0, len(qkv), size):
            part = slice(start, start + size)
            cache.reserve(SLOTS if threads > 1 else int(slots.max()) + 1)
            parts.append(
                attend(pool, cache, 0, qkv[part].copy(), as_paths(paths[part], slots), 0.2)
            )
        whole = np.concatenate(parts) if whole is None else whole
        assert (np.concatenate(parts) == whole).all(), (threads, size)
        slots = np.random.default_rng(threads + size).permutation(SLOTS)[: len(qkv)]


def test_a_long_chain(pool):
    qkv = np.random.default_rng(0).standard_normal((1024, 3 * 20)).astype(np.float32)
    paths = [list(range(i + 1)) for i in range(1024)]
    cache = native.KeyValueCache(1, 2, 10, "f32")
    cache.reserve(1024)
    out = attend(pool, cache, 0, qkv, as_paths(paths, np.arange(1024)), 10**-0.5)
    assert np.abs(out - exact(qkv, paths, 2, np.float32)).max() < 1e-5


def test_scores_of_any_size_give_a_softmax(pool):
    qkv = np.random.default_rng(0).standard_normal((50, 3 * 16)).astype(np.float32)
    qkv[:, :32] *= 100
    paths = [list(range(i + 1)) for i in range(50)]
    cache = native.KeyValueCache(1, 2, 8, "f32")
    cache.reserve(50)
    out = attend(pool, cache, 0, qkv, as_paths(paths, np.arange(50)), 8**-0.5)
    assert np.abs(out - exact(qkv, paths, 2, np.float32)).max() < 1e-3


def test_growth_keeps_what_is_stored(pool):
    qkv, paths, _ = forest(2, 10, 3)
    grown, roomy = (native.KeyValueCache(2, 2, 10, "f16") for _ in range(2))
    roomy.reserve(1000)
    for start in range(0, 120, 10):
        grown.reserve(start + 10)
        part = slice(start, start + 10)
        args = (1, qkv[part].copy(), as_paths(paths[part], np.arange(120)), 0.3)
        assert (attend(pool, grown, *args) == attend(pool, roomy, *args)).all()
    assert 120 <= grown.slots < 120 + grown.chunk_slots


def test_float16_keys_are_rounded_as_numpy_rounds(pool):
    """One visible slot: the output is the stored value itself."""
    bits = np.arange(0, 2**32, 65537 * 8 - 1, dtype=np.uint64).astype(np.uint32)
    values = bits.view(np.float32)
    values = values[np.isfinite(values) & (np.abs(values) < 65519)]
    ties = (np.arange(31744, dtype=np.uint16).view(np.float16).astype(np.float32)) * (1 + 2**-11)
    values = np.concatenate([values, ties, -ties])[: 8 * 4096 * 2]
    eights = values[: len(values) // 8 * 8].reshape(-1, 8)
    eights = eights[np.abs(eights).max(axis=1) < 65519]
    rows = len(eights)
    qkv = np.zeros((rows, 24), np.float32)
    qkv[:, 16:] = eights
    cache = native.KeyValueCache(1, 1, 8, "f16")
    cache.reserve(rows)
    out = attend(pool, cache, 0, qkv, as_paths([[i] for i in range(rows)], np.arange(rows)), 1.0)
    assert (out == eights.astype(np.float16).astype(np.float32)).all()


def test_walking_up_from_the_nodes_gives_the_same_paths(pool):
    qkv, paths, slots = forest(2, 10, 5)
    parents = np.full(SLOTS, -1, np.int32)
    for path in paths:
        parents[slots[path[-1]]] = slots[path[-2]] if len(path) > 1 else -1
    results = []
    for made in (as_paths(paths, slots), native.Paths.walk(parents, slots.astype(np.int32))):
        cache = native.KeyValueCache(1, 2, 10, "f32")
        cache.reserve(SLOTS)
        assert len(made) == len(paths)
        results.append(attend(pool, cache, 0, qkv, made, 0.3))
    assert (results[0] == results[1]).all()
