"""Linear maps against float64; a row does not depend on other rows.

The kernels are native/kernels/linear_gemv.cpp, linear_gemm.cpp and linear_transposed.cpp.
"""

from __future__ import annotations

import numpy as np
import pytest

from cpm_lm import _native as native
from tests.native.elements import ELEMENTS, matrix, misaligned, stored

SHAPES = [(1, 1), (7, 5), (80, 96), (96, 1000), (1000, 80), (129, 33), (2560, 96), (80, 2560)]
ROWS = (1, 2, 3, 4, 5, 7, 8, 9, 32, 257)


def product(pool: native.Pool, x: np.ndarray, weights: native.Matrix) -> np.ndarray:
    out = np.full((len(x), weights.outputs), np.nan, np.float32)
    native.linear(pool, x, weights, out)
    return out


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("element", ELEMENTS)
@pytest.mark.parametrize(("inputs", "outputs"), SHAPES)
def test_products_are_those_of_float64(pool, inputs, outputs, element, transposed):
    rng = np.random.default_rng(inputs)
    weights, exact, bias = matrix(rng, inputs, outputs, element, transposed)
    x = rng.standard_normal((257, inputs)).astype(np.float32)
    expected = x.astype(np.float64) @ exact + bias
    for rows in ROWS:
        assert np.abs(product(pool, x[:rows], weights) - expected[:rows]).max() < 3e-5 * max(
            1, inputs**0.5 / 4
        )


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("element", ELEMENTS)
@pytest.mark.parametrize(("inputs", "outputs"), [(300, 333), (1500, 80)])
def test_a_row_does_not_depend_on_rows_place_or_threads(isa, inputs, outputs, element, transposed):
    rng = np.random.default_rng(1)
    weights, _, _ = matrix(rng, inputs, outputs, element, transposed)
    x = rng.standard_normal((40, inputs)).astype(np.float32)
    alone = [product(native.Pool(1, isa), x[i : i + 1], weights)[0] for i in range(40)]
    for threads in (1, 2, 3):
        pool = native.Pool(threads, isa)
        for rows in (*range(1, 20), 40):
            for start in (0, 40 - rows):
                slice_ = product(pool, x[start : start + rows].copy(), weights)
                assert (slice_ == alone[start : start + rows]).all(), (threads, rows, start)


@pytest.mark.parametrize("transposed", [False, True])
def test_without_bias_and_added_to_what_is_there(pool, transposed):
    rng = np.random.default_rng(2)
    values = rng.standard_normal((30, 30)).astype(np.float32)
    weights = native.Matrix(values, "f32", transposed=transposed)
    for rows in (1, 3, 20):
        x = rng.standard_normal((rows, 30)).astype(np.float32)
        before = rng.standard_normal((rows, 30)).astype(np.float32)
        out = before.copy()
        native.linear(pool, x, weights, out, add=True)
        expected = x.astype(np.float64) @ (values.T if transposed else values) + before
        assert np.abs(out - expected).max() < 1e-5


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("element", ELEMENTS)
def test_memory_may_begin_anywhere(pool, element, transposed):
    rng = np.random.default_rng(3)
    kept, exact = stored(rng.standard_normal((77, 77)), element)
    weights = native.Matrix(misaligned(kept), element, transposed=transposed)
    x = misaligned(rng.standard_normal((9, 77)).astype(np.float32))
    for rows in (1, 2, 9):
        out = misaligned(np.zeros((rows, 77), np.float32))
        native.linear(pool, x[:rows], weights, out)
        expected = x[:rows].astype(np.float64) @ (exact.T if transposed else exact)
        assert np.abs(out - expected).max() < 1e-4


@pytest.mark.parametrize("element", ["f16", "bf16"])
@pytest.mark.parametrize("transposed", [False, True])
def test_every_16_bit_number_is_converted_exactly(pool, element, transposed):
    bits = np.arange(65536, dtype=np.uint16)
    if element == "f16":
        exact = bits.view(np.float16).astype(np.float32)
    else:
        exact = (bits.astype(np.uint32) << 16).view(np.float32)
    bits[~np.isfinite(exact)] = 0
    exact[~np.isfinite(exact)] = 0
    kept = bits.view(np.float16) if element == "f16" else bits
    shape = (65536, 1) if transposed else (1, 65536)
    weights = native.Matrix(kept.reshape(shape), element, transposed=transposed)
    for rows in (1, 12):
        out = product(pool, np.ones((rows, 1), np.float32), weights)
        assert (out == exact).all()


def test_infinities_and_nan_in_float16_stay_what_they_are(pool):
    values = np.array([[np.inf, -np.inf, np.nan, 1.0]], np.float16)
    out = product(pool, np.ones((1, 1), np.float32), native.Matrix(values, "f16"))
    assert np.array_equal(out[0], values[0].astype(np.float32), equal_nan=True)


def test_no_rows_are_no_work(pool):
    weights = native.Matrix(np.zeros((3, 4), np.float32), "f32")
    assert product(pool, np.zeros((0, 3), np.float32), weights).shape == (0, 4)


def test_a_matrix_tells_its_shape():
    values = np.zeros((3, 4), np.uint16)
    plain, transposed = (
        native.Matrix(values, "bf16"),
        native.Matrix(values, "bf16", transposed=True),
    )
    assert (plain.inputs, plain.outputs, plain.element) == (3, 4, "bf16")
    assert (transposed.inputs, transposed.outputs) == (4, 3)
