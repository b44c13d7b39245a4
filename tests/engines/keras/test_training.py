"""The Keras model: fit, gradients, dropout, files, summary, dtypes."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from cpm_lm.config import GPTConfig
from cpm_lm.errors import ConfigError
from cpm_lm.gpt.gpt import GPT
from cpm_lm.gpt.load import keras_model
from tests.support.tolerances import LOGITS

pytestmark = pytest.mark.keras

SMALL = GPTConfig(vocab_size=64, n_positions=16, n_embd=16, n_layer=2, n_head=2)


@pytest.fixture
def tokens():
    return np.random.default_rng(0).integers(0, 64, (8, 13))


def compiled(model):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(1e-2), loss)
    return model


def test_a_few_steps_lower_the_loss(engine, tokens):
    keras.utils.set_random_seed(0)
    history = compiled(GPT(SMALL)).fit(tokens[:, :-1], tokens[:, 1:], epochs=8, verbose=0).history
    assert history["loss"][-1] < history["loss"][0] - 0.3


def test_a_loaded_store_can_be_trained_on(tiny, reference):
    model = compiled(keras_model(tiny))
    ids = reference["input_ids"]
    before = model.evaluate(ids[:, :-1], ids[:, 1:], verbose=0)
    assert before == pytest.approx(reference["ce_mean"].mean(), abs=1e-4)
    model.fit(ids[:, :-1], ids[:, 1:], epochs=3, verbose=0)
    assert model.evaluate(ids[:, :-1], ids[:, 1:], verbose=0) < before


def test_training_changes_every_weight(engine, tokens):
    model = compiled(GPT(SMALL))
    before = model.get_weights()
    model.fit(tokens[:, :-1], tokens[:, 1:], verbose=0)
    after = model.get_weights()
    moved = [np.abs(new - old).max() for new, old in zip(after, before, strict=True)]
    assert min(moved) > 0


def test_keras_file_round_trip(tiny, reference, tmp_path):
    model = keras_model(tiny)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    ids = reference["input_ids"]
    np.testing.assert_array_equal(np.asarray(again(ids)), np.asarray(model(ids)))
    assert again.config == model.config


def test_keras_file_keeps_16_bit_weights(tiny, reference, tmp_path):
    model = keras_model(tiny, dtype="bfloat16")
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert again.dtype_policy.name == model.dtype_policy.name
    ids = reference["input_ids"]
    np.testing.assert_array_equal(np.asarray(again(ids)), np.asarray(model(ids)))


def test_summary_counts_the_parameters(tiny):
    lines: list[str] = []
    model = keras_model(tiny)
    model.summary(print_fn=lambda line, **_: lines.append(line))
    assert f"{model.config.parameter_count:,}" in "\n".join(lines)


def test_dropout_only_while_training(engine, tokens):
    model = GPT(SMALL, dropout=0.5)
    first, second = (np.asarray(model(tokens, training=False)) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    dropped = [np.asarray(model(tokens, training=True)) for _ in range(2)]
    assert np.abs(dropped[0] - dropped[1]).max() > 0


def test_attention_is_causal(engine, tokens):
    model = GPT(SMALL)
    changed = tokens.copy()
    changed[:, 7:] = 0
    ours, theirs = np.asarray(model(tokens)), np.asarray(model(changed))
    np.testing.assert_allclose(ours[:, :7], theirs[:, :7], atol=1e-6)
    assert np.abs(ours[:, 7:] - theirs[:, 7:]).max() > 1e-3


def test_the_gelu_can_be_chosen(tiny, reference):
    model = keras_model(tiny)
    other = GPT(GPTConfig(**{**vars(model.config), "activation_function": "gelu"}))
    other.set_weights(model.get_weights())
    logits = np.asarray(other(reference["input_ids"]))
    assert np.abs(logits - reference["logits_erf_gelu"]).max() < LOGITS["float32"]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_16_bit_logits_are_close(tiny, reference, dtype):
    model = keras_model(tiny, dtype=dtype)
    assert {str(v.dtype) for v in model.variables} == {dtype}
    logits = np.asarray(model(reference["input_ids"]))
    assert logits.dtype == np.float32
    error = np.abs(logits - reference["logits"]).max()
    assert LOGITS["float32"] < error < LOGITS[dtype]


def test_mixed_precision_trains(tiny, reference):
    model = compiled(keras_model(tiny, dtype="mixed_bfloat16"))
    assert {str(v.dtype) for v in model.variables} == {"float32"}
    ids = reference["input_ids"]
    history = model.fit(ids[:, :-1], ids[:, 1:], epochs=3, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]


def test_an_unknown_dtype_is_refused(tiny):
    with pytest.raises(ConfigError, match=r"int8.*float32, float16"):
        keras_model(tiny, dtype="int8")
