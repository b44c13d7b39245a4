"""Products with weights in 8 and 4 bits against exact integers; a row does not depend on others.

`rounded` and `expected` are the readable form of native/kernels/linear_quantized.cpp and
linear_amx.cpp.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import pytest

from cpm_lm import _native as native
from tests.native.elements import misaligned

Format = Literal["q8", "q4"]
FORMATS = get_args(Format)
GROUP = {"q8": 64, "q4": 32}
LEAST = {"q8": -128, "q4": -8}
SHAPES = [(1, 1), (80, 10), (96, 1000), (192, 8000), (2560, 257), (2560, 10), (10240, 33)]
ROWS = (1, 2, 3, 4, 5, 8, 31, 257)


@dataclass(frozen=True)
class Packed:
    """Weights as integers [O, groups, group], and as the kernels take them."""

    numbers: np.ndarray
    values: np.ndarray
    scales: np.ndarray
    bias: np.ndarray
    matrix: Any


def packed(numbers: np.ndarray, scales: np.ndarray, bias: np.ndarray, element: Format) -> Packed:
    """Pack integers [O, K], padded with zeros."""
    outputs, inputs = numbers.shape
    groups = -(-inputs // GROUP[element])
    filled = np.zeros((outputs, groups, GROUP[element]), np.int64)
    filled.reshape(outputs, -1)[:, :inputs] = numbers
    if element == "q8":
        values = filled.astype(np.int8).reshape(outputs, -1)
    else:
        halves = (filled + 8).astype(np.uint8)
        values = (halves[:, :, :16] | halves[:, :, 16:] << 4).reshape(outputs, -1)
    matrix = native.Matrix.quantized(values, scales, element, inputs, bias=bias)
    return Packed(filled, values, scales, bias, matrix)


def random_weights(inputs: int, outputs: int, element: Format, seed: int = 0) -> Packed:
    rng = np.random.default_rng(seed)
    numbers = rng.integers(LEAST[element], -LEAST[element], (outputs, inputs))
    scales = rng.normal(0, 0.01, (outputs, -(-inputs // GROUP[element]))).astype(np.float16)
    return packed(numbers, scales, rng.standard_normal(outputs).astype(np.float32), element)


def rounded(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return rows quantized to 16 bits, and the scale of each."""
    scale = np.abs(x).max(axis=1, keepdims=True) / np.float32(32639)
    with np.errstate(divide="ignore"):
        factor = np.where(scale > 0, np.float32(1) / scale, np.float32(0))
    return np.rint(x * factor).astype(np.int64), scale


def expected(x: np.ndarray, w: Packed) -> tuple[np.ndarray, np.ndarray]:
    """Return the products from exact sums of groups, and a bound on the error of float32."""
    numbers, row_scale = rounded(x)
    outputs, groups, size = w.numbers.shape
    filled = np.zeros((len(x), groups * size), np.int64)
    filled[:, : x.shape[1]] = numbers
    # The sum of a group is below 2^29, so it is exact in float64.
    sums = np.zeros((len(x), outputs))
    extent = np.zeros_like(sums)
    for g in range(groups):
        part = filled[:, g * size : (g + 1) * size].astype(np.float64)
        scale = w.scales[:, g].astype(np.float64)
        sums += part @ w.numbers[:, g].T.astype(np.float64) * scale
        extent += np.abs(part) @ np.abs(w.numbers[:, g]).T.astype(np.float64) * np.abs(scale)
    return sums * row_scale + w.bias, (groups + 8) * 2.0**-24 * (
        extent * row_scale + np.abs(w.bias)
    )


def product(pool: native.Pool, x: np.ndarray, w: Packed) -> np.ndarray:
    out = np.full((len(x), w.matrix.outputs), np.nan, np.float32)
    native.linear(pool, x, w.matrix, out)
    return out


@pytest.mark.parametrize("element", FORMATS)
@pytest.mark.parametrize(("inputs", "outputs"), SHAPES)
def test_products_are_those_of_integers(pool, inputs, outputs, element):
    w = random_weights(inputs, outputs, element)
    x = np.random.default_rng(1).standard_normal((257, inputs)).astype(np.float32)
    found = product(pool, x, w)
    wanted, bound = expected(x, w)
    assert (np.abs(found - wanted) <= bound).all()
    for rows in ROWS:
        assert (product(pool, x[:rows], w) == found[:rows]).all()


@pytest.mark.parametrize("element", FORMATS)
def test_sums_are_exact(pool, element):
    """Scales of 1 and sums below 2^24: every instruction set gives the exact integer."""
    rng = np.random.default_rng(2)
    numbers = rng.integers(LEAST[element], -LEAST[element], (37, 200))
    numbers[:, 7] = 0
    x = rng.integers(-500, 500, (19, 200)).astype(np.float32)
    x[:, 7] = 32639  # so that the scale is 1
    scales = np.ones((37, -(-200 // GROUP[element])), np.float16)
    w = packed(numbers, scales, np.zeros(37, np.float32), element)
    wanted = x.astype(np.int64) @ numbers.T
    for rows in (1, 2, 3, 5, 19):
        assert (product(pool, x[:rows], w) == wanted[:rows]).all()


@pytest.mark.parametrize("element", FORMATS)
@pytest.mark.parametrize("sign", [1, -1])
def test_the_largest_sums_do_not_overflow(pool, element, sign):
    numbers = np.full((9, 10240), LEAST[element])
    numbers[:, 1::2] = -1 - LEAST[element]
    scales = np.full((9, 10240 // GROUP[element]), 1.0, np.float16)
    w = packed(numbers, scales, np.zeros(9, np.float32), element)
    x = np.full((9, 10240), sign * 3e38 / 2**40, np.float32)
    x[1::2] *= -1
    wanted = x.astype(np.float64) @ numbers.T
    for rows in (1, 3, 9):
        assert np.allclose(product(pool, x[:rows], w), wanted[:rows], rtol=1e-5)


@pytest.mark.parametrize("element", FORMATS)
def test_rows_of_every_size(pool, element):
    w = random_weights(100, 40, element)
    x = np.random.default_rng(3).standard_normal((6, 100)).astype(np.float32)
    x[1] = 0
    x[2, 50] = 1e30  # the other values are rounded to 0, this one is not
    x[3] *= 1e-25
    x[4] = 1e-40  # 1 / scale would be infinite
    wanted, bound = expected(np.where(np.abs(x) < 1e-38, 0, x), w)
    found = product(pool, x, w)
    assert (np.abs(found - wanted) <= bound + 1e-38).all()
    assert (found[1] == w.bias).all()
    assert (found[4] == w.bias).all()
    for r in range(6):
        assert (product(pool, x[r : r + 1], w) == found[r]).all()


@pytest.mark.parametrize("element", FORMATS)
@pytest.mark.parametrize("bad", [np.nan, -np.nan, np.inf, -np.inf])
def test_what_is_not_finite_stays_in_its_row(pool, element, bad):
    w = random_weights(70, 20, element)
    x = np.random.default_rng(4).standard_normal((9, 70)).astype(np.float32)
    before = product(pool, x, w)
    x[5, 69] = bad
    after = product(pool, x, w)
    assert np.isnan(after[5]).all()
    assert (np.delete(after, 5, 0) == np.delete(before, 5, 0)).all()


@pytest.mark.parametrize("element", FORMATS)
@pytest.mark.parametrize(("inputs", "outputs"), [(300, 333), (2500, 80)])
def test_a_row_does_not_depend_on_rows_place_or_threads(isa, inputs, outputs, element):
    w = random_weights(inputs, outputs, element)
    x = np.random.default_rng(5).standard_normal((40, inputs)).astype(np.float32)
    alone = [product(native.Pool(1, isa), x[i : i + 1], w)[0] for i in range(40)]
    for threads in (1, 2, 3):
        pool = native.Pool(threads, isa)
        for rows in (*range(1, 20), 40):
            for start in (0, 40 - rows):
                slice_ = product(pool, x[start : start + rows].copy(), w)
                assert (slice_ == alone[start : start + rows]).all(), (threads, rows, start)


@pytest.mark.parametrize("element", FORMATS)
@pytest.mark.parametrize(("inputs", "outputs"), [(80, 10), (300, 333), (2560, 48)])
def test_processors_with_fma_give_the_same_bits(inputs, outputs, element):
    """Sums of groups are exact, and the order of all other operations is the same."""
    fused = [isa for isa in native.instruction_sets() if isa != "portable"]
    if len(fused) < 2:
        pytest.skip("one set of instructions with FMA here: nothing to compare")
    w = random_weights(inputs, outputs, element)
    x = np.random.default_rng(8).standard_normal((150, inputs)).astype(np.float32)
    for rows in (1, 2, 3, 7, 17, 150):
        first, *others = (product(native.Pool(2, isa), x[:rows], w) for isa in fused)
        assert all((other == first).all() for other in others), rows


@pytest.mark.parametrize("element", FORMATS)
def test_added_to_what_is_there_and_memory_anywhere(pool, element):
    w = random_weights(77, 30, element)
    values, scales = misaligned(w.values), misaligned(w.scales)
    matrix = native.Matrix.quantized(values, scales, element, 77)
    x = misaligned(np.random.default_rng(6).standard_normal((9, 77)).astype(np.float32))
    wanted, bound = expected(x, w)
    for rows in (1, 2, 9):
        out = misaligned(np.ones((rows, 30), np.float32))
        native.linear(pool, x[:rows], matrix, out, add=True)
        assert (np.abs(out - (wanted[:rows] - w.bias + 1)) <= bound[:rows] + 1e-6).all()


@pytest.mark.parametrize("element", FORMATS)
def test_every_scale_is_converted_exactly(pool, element):
    bits = np.arange(65536, dtype=np.uint16)
    bits[~np.isfinite(bits.view(np.float16))] = 0
    scales = bits.view(np.float16).reshape(-1, 1)
    w = packed(np.ones((65536, 1), np.int64), scales, np.zeros(65536, np.float32), element)
    x = np.full((1, 1), 32639, np.float32)
    assert (product(pool, x, w)[0] == np.float32(32639) * scales[:, 0].astype(np.float32)).all()


@pytest.mark.parametrize("width", [80, 64, 33])
def test_embedding(pool, width):
    w = random_weights(width, 100, "q8")
    places = np.random.default_rng(7).standard_normal((50, width)).astype(np.float32)
    table = native.Matrix(places, "f32", transposed=True)
    tokens = np.arange(99, -1, -1, dtype=np.int32)
    out = np.empty((100, width), np.float32)
    native.embedding(pool, tokens, tokens // 2, w.matrix, table, out)
    words = (w.numbers * w.scales.astype(np.float32)[:, :, None]).astype(np.float32)
    assert (out == words.reshape(100, -1)[tokens, :width] + places[tokens // 2]).all()


def test_a_matrix_tells_its_shape_and_what_it_reads():
    q8, q4 = (random_weights(80, 10, element).matrix for element in FORMATS)
    assert (q8.inputs, q8.outputs, q8.element, q8.nbytes) == (80, 10, "q8", 10 * (128 + 2 * 2))
    assert (q4.inputs, q4.outputs, q4.element, q4.nbytes) == (80, 10, "q4", 10 * (48 + 2 * 3))
    assert native.Matrix(np.zeros((3, 4), np.uint16), "bf16").nbytes == 24


VALUES, SCALES = np.zeros((10, 128), np.int8), np.zeros((10, 2), np.float16)


@pytest.mark.parametrize(
    ("values", "scales", "element", "inputs", "message"),
    [
        (VALUES.view(np.uint8), SCALES, "q8", 80, "values holds uint8; int8"),
        (VALUES, SCALES, "q4", 80, "values holds int8; uint8"),
        (VALUES, SCALES, "f16", 80, "element is 'f16'; q8 or q4"),
        (VALUES, SCALES, "q5", 80, "element is 'q5'"),
        (VALUES, SCALES, "q8", 129, r"values has shape \[10, 128\]; \[10, 192\] was expected"),
        (VALUES, SCALES, "q8", 64, r"values has shape \[10, 128\]; \[10, 64\]"),
        (VALUES[:, ::2], SCALES, "q8", 64, "values is not C-contiguous"),
        (VALUES[:0], SCALES, "q8", 80, "no elements"),
        (VALUES, SCALES[:, :1].copy(), "q8", 80, r"scales has shape \[10, 1\]; \[10, 2\]"),
        (VALUES, SCALES[:9], "q8", 80, r"scales has shape \[9, 2\]; \[10, 2\]"),
        (VALUES, SCALES.astype(np.float32), "q8", 80, "scales holds float32; float16"),
        (VALUES, SCALES, "q8", 0, "inputs is 0"),
        (VALUES, SCALES, "q8", -5, "inputs is -5"),
        (VALUES, SCALES, "q8", 2**62, "inputs is 4611686018427387904"),
    ],
)
def test_what_does_not_fit_is_refused(values, scales, element, inputs, message):
    with pytest.raises(ValueError, match=message):
        native.Matrix.quantized(values, scales, element, inputs)


def test_wrong_uses_are_refused(pool):
    w = random_weights(80, 10, "q4")
    with pytest.raises(ValueError, match=r"others by Matrix\.quantized"):
        native.Matrix(VALUES, "q8", transposed=True)  # type: ignore[arg-type]  # wrong on purpose
    with pytest.raises(ValueError, match=r"bias has shape \[9\]; \[10\]"):
        native.Matrix.quantized(w.values, w.scales, "q4", 80, bias=np.zeros(9, np.float32))
    with pytest.raises(ValueError, match=r"x has shape \[2, 96\]; \[2, 80\]"):
        native.linear(pool, np.zeros((2, 96), np.float32), w.matrix, np.zeros((2, 10), np.float32))
    with pytest.raises(ValueError, match="'q8'; keys and values"):
        native.KeyValueCache(1, 1, 8, "q8")  # type: ignore[arg-type]  # wrong on purpose
    tokens = np.zeros(2, np.int32)
    with pytest.raises(ValueError, match="q4 matrix cannot be looked up"):
        native.embedding(pool, tokens, tokens, w.matrix, w.matrix, np.zeros((2, 80), np.float32))
