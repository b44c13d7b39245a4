"""The native engine gives the original's numbers in every number format of a store."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cpm_lm._native as kernels
from cpm_lm.checkpoints.convert import convert
from cpm_lm.choices import WeightFormat
from cpm_lm.engines.forest import chain
from cpm_lm.engines.native.engine import NativeEngine, hidden_states
from cpm_lm.engines.native.weights import Workspace
from cpm_lm.engines.select import open_engine
from tests.support.random_models import both, shape
from tests.support.tolerances import HIDDEN, LOGITS

DATA = Path(__file__).parents[2] / "data" / "checkpoints"
NAMES = sorted(path.parent.name for path in DATA.glob("*/reference.npz"))
LENGTH = 24
DTYPES = {"f32": "float32", "f16": "float16", "bf16": "bfloat16"}


@pytest.fixture(scope="module", params=NAMES)
def expected(request: pytest.FixtureRequest) -> dict[str, Any]:
    with np.load(DATA / request.param / "reference.npz") as arrays:
        return {"name": request.param, **arrays}


def opened(
    expected: dict[str, Any], folder: Path, weights: WeightFormat, **options: Any
) -> NativeEngine:
    heads = json.loads(str(expected["config"]))["num_attention_heads"]
    convert(DATA / expected["name"], folder / weights, heads=heads, weights=weights)
    engine = open_engine(folder / weights, engine="native", **options)
    assert isinstance(engine, NativeEngine)
    return engine


@pytest.fixture(scope="module")
def engine(expected: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> NativeEngine:
    return opened(expected, tmp_path_factory.mktemp("native"), "f32")


def largest_error(engine: NativeEngine, expected: dict[str, Any]) -> float:
    """The largest absolute difference of the logits of the original's texts."""
    session = engine.session(2 * LENGTH)
    got = [
        session.extend(row, chain(LENGTH), list(range(LENGTH)))[1] for row in expected["input_ids"]
    ]
    return float(np.abs(np.stack(got) - expected["logits"]).max())


def test_logits_equal_the_original(engine, expected):
    assert largest_error(engine, expected) < LOGITS["float32"]


def test_hidden_states_equal_the_original(engine, expected):
    c, order = engine.config, np.arange(LENGTH, dtype=np.int32)
    parents = order - 1
    for i, row in enumerate(expected["input_ids"]):
        cache = kernels.KeyValueCache(c.n_layer, c.n_head, c.head_size, "f32")
        cache.reserve(LENGTH)
        paths, room = kernels.Paths.walk(parents, order), Workspace(LENGTH, c.n_embd)
        tokens = row.astype(np.int32)
        found = hidden_states(engine.pool, engine.weights, c, tokens, order, paths, cache, room)
        states = np.stack([state.copy() for state in found])
        assert np.abs(states - expected["hidden"][:, i]).max() < HIDDEN


def test_greedy_tokens_equal_the_original(engine, expected):
    session = engine.session(40)
    prompt = expected["prompt"]
    nodes, logits = session.extend(prompt, chain(len(prompt)))
    for wanted, scores in zip(expected["greedy_tokens"], expected["greedy_logits"], strict=True):
        assert np.abs(logits[0] - scores).max() < LOGITS["float32"]
        assert logits[0].argmax() == wanted
        nodes, logits = session.extend([int(wanted)], nodes[-1:])


def test_the_other_gelu_gives_other_logits(engine, expected):
    row = expected["input_ids"][0]
    _, ours = engine.session(LENGTH).extend(row, chain(LENGTH), list(range(LENGTH)))
    assert np.abs(ours - expected["logits_erf_gelu"][0]).max() > 5 * LOGITS["float32"]


@pytest.mark.parametrize("weights", ["f16", "bf16"])
def test_16_bit_weights_are_within_their_tolerance(expected, tmp_path, weights):
    found = largest_error(opened(expected, tmp_path, weights), expected)
    assert found < LOGITS[DTYPES[weights]]
    if "fp16" not in expected["name"]:  # those weights are float16 already, so nothing is rounded
        assert found > 2 * LOGITS["float32"]


def test_a_16_bit_kv_cache_is_within_its_tolerance(expected, tmp_path):
    narrow = opened(expected, tmp_path, "f32", cache_dtype="f16")
    assert 1e-5 < largest_error(narrow, expected) < LOGITS["float16"]


def test_erf_gelu_is_computed_if_configured():
    engine, oracle = both(shape(activation_function="gelu"))
    got, wanted = (e.session().extend([3, 1, 4], chain(3))[1] for e in (engine, oracle))
    assert np.abs(got - wanted).max() < LOGITS["float32"]
