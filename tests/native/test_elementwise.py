"""Layer norm, GELU and embedding, native/kernels/elementwise.cpp, against float64."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cpm_lm import _native as native
from tests.native.elements import ELEMENTS, stored


def exact_norm(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    wide = x.astype(np.float64)
    centered = wide - wide.mean(axis=1, keepdims=True)
    return centered / np.sqrt((centered**2).mean(axis=1, keepdims=True) + 1e-5) * weight + bias


@pytest.mark.parametrize("width", [1, 5, 8, 80, 96, 1003, 2560])
def test_layer_norm(isa, width):
    rng = np.random.default_rng(width)
    x = (rng.standard_normal((40, width)) * 3 + 5).astype(np.float32)
    weight, bias = rng.standard_normal((2, width)).astype(np.float32)
    alone = np.empty((1, width), np.float32)
    for threads in (1, 3):
        pool = native.Pool(threads, isa)
        out = np.empty_like(x)
        native.layer_norm(pool, x, weight, bias, 1e-5, out)
        assert np.abs(out - exact_norm(x, weight, bias)).max() < 1e-5
        native.layer_norm(pool, x[17:18].copy(), weight, bias, 1e-5, alone)
        assert (alone[0] == out[17]).all()
        inplace = x.copy()
        native.layer_norm(pool, inplace, weight, bias, 1e-5, inplace)
        assert (inplace == out).all()


def exact_gelu(x: np.ndarray, kind: str) -> np.ndarray:
    wide = x.astype(np.float64)
    if kind == "tanh":
        return 0.5 * wide * (1 + np.tanh(math.sqrt(2 / math.pi) * (wide + 0.044715 * wide**3)))
    return 0.5 * wide * (1 + np.vectorize(math.erf)(wide / math.sqrt(2)))


@pytest.mark.parametrize("kind", ["tanh", "erf"])
@pytest.mark.parametrize("shape", [(1, 1), (3, 7), (2, 20000)])
def test_gelu(pool, kind, shape):
    x = np.random.default_rng(0).uniform(-12, 12, shape).astype(np.float32)
    out = x.copy()
    native.gelu(pool, out, kind)
    assert np.abs(out - exact_gelu(x, kind)).max() < 2e-6


@pytest.mark.parametrize("kind", ["tanh", "erf"])
def test_gelu_of_large_small_and_zero(pool, kind):
    x = np.array([[0, -0.0, 1e-30, -1e-30, 50, -50, 1e4, -1e4, 3e38, -3e38]], np.float32)
    out = x.copy()
    native.gelu(pool, out, kind)
    assert np.allclose(out, np.where(x > 1, x, np.where(x < -1, 0, x / 2)), rtol=1e-6, atol=1e-35)


@pytest.mark.parametrize("element", ELEMENTS)
@pytest.mark.parametrize("width", [80, 96, 33])
def test_embedding(pool, element, width):
    rng = np.random.default_rng(width)
    words, words64 = stored(rng.standard_normal((1000, width)), element)
    places, places64 = stored(rng.standard_normal((64, width)), "f32")
    tokens = rng.integers(0, 1000, 301, dtype=np.int32)
    positions = rng.integers(0, 64, 301, dtype=np.int32)
    out = np.empty((301, width), np.float32)
    wte = native.Matrix(words, element, transposed=True)
    native.embedding(
        pool, tokens, positions, wte, native.Matrix(places, "f32", transposed=True), out
    )
    assert (
        out == (words64[tokens].astype(np.float32) + places64[positions].astype(np.float32))
    ).all()
