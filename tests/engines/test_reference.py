"""The reference engine against numbers of the original code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cpm_lm.checkpoints.convert import convert
from cpm_lm.config import GPTConfig
from cpm_lm.engines.forest import chain
from cpm_lm.engines.reference import ReferenceEngine, hidden_states
from cpm_lm.engines.select import open_engine
from cpm_lm.errors import CapacityError, RequestError
from cpm_lm.numpy_ops import gelu_erf
from tests.support.tolerances import HIDDEN, LOGITS

DATA = Path(__file__).parent.parent / "data" / "checkpoints"
NAMES = sorted(path.parent.name for path in DATA.glob("*/reference.npz"))
LENGTH = 24
CHAIN = chain(LENGTH)


@pytest.fixture(scope="module", params=NAMES)
def expected(request):
    with np.load(DATA / request.param / "reference.npz") as arrays:
        return {"name": request.param, **arrays}


@pytest.fixture(scope="module")
def engine(expected: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> ReferenceEngine:
    store = tmp_path_factory.mktemp("reference") / "store"
    heads = json.loads(str(expected["config"]))["num_attention_heads"]
    convert(DATA / expected["name"], store, heads=heads)
    opened = open_engine(store, engine="reference")
    assert isinstance(opened, ReferenceEngine)
    return opened


def states(engine: ReferenceEngine, row: np.ndarray) -> np.ndarray:
    order = np.arange(len(row), dtype=np.int32)
    c = engine.config
    cache = np.zeros((c.n_layer, 2, len(row), c.n_head, c.head_size), np.float32)
    visible = order[:, None] >= order
    return np.stack(list(hidden_states(engine.weights, c, row, order, visible, cache, order)))


def test_logits_equal_the_original(engine, expected):
    session = engine.session(2 * LENGTH)
    for row, wanted in zip(expected["input_ids"], expected["logits"], strict=True):
        _, logits = session.extend(row, CHAIN, list(range(LENGTH)))
        assert np.abs(logits - wanted).max() < LOGITS["float32"]


def test_hidden_states_equal_the_original(engine, expected):
    for i, row in enumerate(expected["input_ids"]):
        assert np.abs(states(engine, row) - expected["hidden"][:, i]).max() < HIDDEN


def test_greedy_tokens_equal_the_original(engine, expected):
    session = engine.session(40)
    prompt = expected["prompt"]
    nodes, logits = session.extend(prompt, CHAIN[: len(prompt)])
    for wanted, scores in zip(expected["greedy_tokens"], expected["greedy_logits"], strict=True):
        assert np.abs(logits[0] - scores).max() < LOGITS["float32"]
        assert logits[0].argmax() == wanted
        nodes, logits = session.extend([int(wanted)], nodes[-1:])


def test_the_other_gelu_gives_other_logits(engine, expected):
    row, wanted = expected["input_ids"][0], expected["logits_erf_gelu"][0]
    _, ours = engine.session(LENGTH).extend(row, CHAIN, list(range(LENGTH)))
    assert np.abs(ours - wanted).max() > 5 * LOGITS["float32"]
    config = GPTConfig(**{**vars(engine.config), "activation_function": "gelu"})
    other = ReferenceEngine(config, engine.weights)
    _, theirs = other.session(LENGTH).extend(row, CHAIN, list(range(LENGTH)))
    assert np.abs(theirs - wanted).max() < LOGITS["float32"]


def test_erf_form_of_gelu():
    x = np.array([-1, 0, 2], np.float32)
    np.testing.assert_allclose(gelu_erf(x), [-0.15865525, 0, 1.9544997], rtol=1e-6)


def test_slices_equal_one_call(engine, expected, monkeypatch):
    session = engine.session(LENGTH)
    monkeypatch.setattr(session, "slice_tokens", 7)
    _, logits = session.extend(expected["input_ids"][0], CHAIN, list(range(LENGTH)))
    assert np.abs(logits - expected["logits"][0]).max() < LOGITS["float32"]


@pytest.mark.parametrize(
    ("tokens", "parents", "at", "message"),
    [
        ([], [], None, "no tokens"),
        ([1, 2], [-1], None, "2 tokens came with 1 parents"),
        ([512], [-1], None, r"tokens\[0\] is 512; expected 0 to 511"),
        ([1], [-1], [1], r"logits_at\[0\] is 1; expected 0 to 0"),
    ],
)
def test_bad_calls_are_refused(engine, tokens, parents, at, message):
    with pytest.raises(RequestError, match=message):
        engine.session(8).extend(tokens, parents, at)


def test_a_full_session_is_refused(engine):
    session = engine.session(3)
    with pytest.raises(CapacityError, match="4 new tokens do not fit"):
        session.extend([1] * 4, [-1] * 4)
    assert session.live == 0
