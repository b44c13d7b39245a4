"""Engine and model give the original's numbers for every checkpoint."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cpm_lm.engines.base import Session
from cpm_lm.engines.forest import chain
from cpm_lm.engines.select import open_engine
from cpm_lm.gpt.load import keras_model
from tests.support.tolerances import HIDDEN, LOGITS

pytestmark = pytest.mark.keras


def greedy(session: Session, prompt: list[int], count: int) -> tuple[list[int], list[np.ndarray]]:
    nodes, logits = session.extend(prompt, chain(len(prompt)))
    tokens, scores = [], []
    for _ in range(count):
        scores.append(logits[0])
        tokens.append(int(logits[0].argmax()))
        nodes, logits = session.extend(tokens[-1:], nodes[-1:])
    return tokens, scores


@pytest.fixture(scope="module")
def expectation(checkpoints: Path, checkpoint: str) -> dict[str, np.ndarray]:
    with np.load(checkpoints / checkpoint / "reference.npz") as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def model(stores: dict[str, Path], checkpoint: str, engine: object) -> object:
    return keras_model(stores[checkpoint])


def test_model_equals_the_original(model, expectation):
    logits = np.asarray(model(expectation["input_ids"]))
    assert np.abs(logits - expectation["logits"]).max() < LOGITS["float32"]


def test_hidden_states_equal_the_original(model, expectation):
    states = [np.asarray(x) for x in model.hidden_states(expectation["input_ids"])]
    assert np.abs(np.stack(states) - expectation["hidden"]).max() < HIDDEN


def test_the_other_gelu_gives_other_logits(model, expectation):
    logits = np.asarray(model(expectation["input_ids"]))
    assert np.abs(logits - expectation["logits_erf_gelu"]).max() > 5 * LOGITS["float32"]


def test_engine_equals_the_original_token_by_token(stores, checkpoint, backend, expectation):
    session = open_engine(stores[checkpoint], engine=backend).session(128)
    ids = expectation["input_ids"]
    at = list(range(ids.shape[1]))
    for row, wanted in zip(ids, expectation["logits"], strict=True):
        _, logits = session.extend(row, chain(len(row)), at)
        assert np.abs(logits - wanted).max() < LOGITS["float32"]
    tokens, scores = greedy(session, expectation["prompt"].tolist(), 24)
    assert tokens == expectation["greedy_tokens"].tolist()
    assert np.abs(np.stack(scores) - expectation["greedy_logits"]).max() < LOGITS["float32"]


@pytest.mark.parametrize("split", [1, 2, 3, 4, 5, 16, 17, 23])
def test_cached_equals_uncached_at_every_split(engine, reference, split):
    session = engine.session(32)
    ids = reference["input_ids"][0]
    nodes, before = session.extend(ids[:split], chain(split), list(range(split)))
    rest = len(ids) - split
    parents = chain(rest, int(nodes[-1]))
    _, after = session.extend(ids[split:], parents, list(range(rest)))
    logits = np.concatenate([before, after])
    assert np.abs(logits - reference["logits"][0]).max() < LOGITS["float32"]
