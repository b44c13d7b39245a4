"""The transposed matrices of the TensorFlow engine on a CPU."""

from __future__ import annotations

import os

import numpy as np
import pytest

pytestmark = [
    pytest.mark.keras,
    pytest.mark.skipif(
        os.environ.get("CPM_TEST_ENGINE") == "jax", reason="about TensorFlow's memory"
    ),
]
LAYERS = ("attention.qkv", "attention.out", "feed_forward.widen", "feed_forward.narrow")


def layer(model, name):
    part, inner = name.split(".")
    return getattr(getattr(model.blocks[-1], part), inner)


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("name", LAYERS)
def test_a_product_equals_that_of_the_model(tiny, name, dtype, rows):
    """The programs for one row and for many rows give the same product."""
    from cpm_lm.engines.keras.tensorflow_cpu import TransposedMatrices
    from cpm_lm.gpt.load import keras_model

    model = keras_model(tiny, dtype=dtype)
    width = model.config.n_embd * (4 if name.endswith("narrow") else 1)
    x = np.random.default_rng(0).standard_normal((1, rows, width), np.float32)
    kernel, bias = (
        np.asarray(part).astype(np.float32)
        for part in (layer(model, name).kernel, layer(model, name).bias)
    )
    expected = x @ kernel.reshape(width, -1) + bias.ravel()
    matrices = TransposedMatrices(model)
    for one in {False, rows == 1}:
        found = matrices.product(layer(model, name), x, one=one)
        assert np.abs(found - expected).max() < 1e-5


def test_the_matrices_are_in_memory_once(tiny):
    from cpm_lm.engines.keras.engine import KerasEngine
    from cpm_lm.engines.keras.on_tensorflow import TensorFlowProgram
    from cpm_lm.gpt.load import keras_model

    model = keras_model(tiny)
    program = KerasEngine(model).program
    assert isinstance(program, TensorFlowProgram)
    assert all(layer(model, name).kernel.value.numpy().size == 0 for name in LAYERS)
    assert program.output is model.wte.embeddings.value
