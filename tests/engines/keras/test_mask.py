"""A batch padded to one width in the Keras model: each row's scores are those of the row alone."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from cpm_lm.config import GPTConfig
from cpm_lm.errors import RequestError
from cpm_lm.gpt.gpt import GPT
from tests.support.tolerances import HIDDEN, LOGITS

pytestmark = pytest.mark.keras

SMALL = GPTConfig(vocab_size=64, n_positions=16, n_embd=16, n_layer=2, n_head=2)
ROWS = [[3, 1, 4, 1, 5, 9, 2], [6, 5, 3], [8]]
WIDTH = 9


@pytest.fixture(scope="module")
def model(backend):
    made = GPT(SMALL)
    for at, variable in enumerate(made.variables):
        variable.assign(variable + np.random.default_rng(at).normal(0, 0.3, variable.shape))
    return made


@pytest.fixture(params=["left", "right", "middle"])
def padded(request):
    """Ids, the mask, and where each row begins."""
    ids, mask = np.full((len(ROWS), WIDTH), 7), np.zeros((len(ROWS), WIDTH), bool)
    begins = []
    for row, tokens in enumerate(ROWS):
        room = WIDTH - len(tokens)
        at = {"left": room, "right": 0, "middle": room // 2}[request.param]
        ids[row, at : at + len(tokens)], mask[row, at : at + len(tokens)] = tokens, True
        begins.append(at)
    return ids, mask, begins


def alone(model, row):
    return np.asarray(model(np.array([row + [0] * (WIDTH - len(row))])))[0, : len(row)]


def assert_rows(model, found, begins):
    assert np.isfinite(found).all()
    for scores, row, at in zip(found, ROWS, begins, strict=True):
        error = np.abs(scores[at : at + len(row)] - alone(model, row)).max()
        assert error < LOGITS["float32"]


@pytest.mark.parametrize("kind", [bool, np.int64, np.float32])
def test_scores_are_those_of_the_row_alone(model, padded, kind):
    ids, mask, begins = padded
    assert_rows(model, np.asarray(model(ids, mask=mask.astype(kind))), begins)


def test_without_a_mask_padding_on_the_left_is_read(model, padded):
    ids, _, begins = padded
    found = np.asarray(model(ids))
    for scores, row, at in zip(found, ROWS, begins, strict=True):
        error = np.abs(scores[at : at + len(row)] - alone(model, row)).max()
        assert (error > 0.1) == (at > 0)


def test_hidden_states_too(model, padded):
    ids, mask, begins = padded
    states = model.hidden_states(ids, mask=mask)
    expected = model.hidden_states(np.array([ROWS[1]]))
    assert len(states) == len(expected) == SMALL.n_layer + 2
    at = slice(begins[1], begins[1] + len(ROWS[1]))
    for found, wanted in zip(states, expected, strict=True):
        assert np.abs(np.asarray(found)[1, at] - np.asarray(wanted)[0]).max() < HIDDEN


def test_a_full_mask_changes_nothing(model):
    ids = np.arange(32).reshape(2, 16)
    whole = np.asarray(model(ids, mask=np.ones_like(ids)))
    np.testing.assert_allclose(whole, np.asarray(model(ids)), atol=1e-6)


def test_predict_and_fit_take_it_through_a_functional_model(model, padded):
    ids, mask, begins = padded
    both = keras.Input((None,), dtype="int32"), keras.Input((None,), dtype="bool")
    masked = keras.Model(both, model(both[0], mask=both[1]))
    assert_rows(model, masked.predict([ids, mask], verbose=0), begins)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    masked.compile(keras.optimizers.SGD(0.0), loss)
    weight = np.pad((mask[:, 1:] & mask[:, :-1]).astype("float32"), ((0, 0), (0, 1)))
    labels = np.roll(ids, -1, 1)
    losses = []
    for pad in (7, 50):
        inputs = np.where(mask, ids, pad), mask
        history = masked.fit(inputs, labels, sample_weight=weight, verbose=0, shuffle=False)
        losses += history.history["loss"]
    assert losses[0] == pytest.approx(losses[1], abs=1e-6)
    assert losses[0] > 0


@pytest.mark.parametrize("shape", [(3,), (3, 1), (1, 9), (3, 8), (3, 9, 1)])
def test_a_mask_of_another_shape_is_refused(model, shape):
    ids = np.zeros((3, 9), int)
    with pytest.raises(RequestError, match=r"mask has the shape .* tokens have \(3, 9\)"):
        model(ids, mask=np.ones(shape, bool))
