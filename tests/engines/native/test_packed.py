"""The native engine on packed weights, against the reference on the dequantized ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cpm_lm.checkpoints.convert import convert
from cpm_lm.choices import WeightFormat
from cpm_lm.engines.forest import chain
from cpm_lm.engines.native.bench import measure
from cpm_lm.engines.native.engine import NativeEngine
from cpm_lm.engines.select import open_engine
from cpm_lm.model import DEMO
from tests.support.random_models import both, shape
from tests.support.tolerances import LOGITS

FORMATS = ["q8", "q4"]
LENGTH = 24


@pytest.mark.parametrize("weights", FORMATS)
@pytest.mark.parametrize(
    "sizes",
    [{}, {"n_embd": 80, "n_head": 8}, {"n_embd": 96, "vocab_size": 1000, "n_layer": 1}],
)
def test_logits_equal_those_of_the_dequantized_weights(weights, sizes):
    engine, oracle = both(shape(**sizes), weights, threads=2)
    tokens = np.random.default_rng(0).integers(0, engine.config.vocab_size, LENGTH, np.int32)
    rows = list(range(LENGTH))
    got, wanted = (e.session().extend(tokens, chain(LENGTH), rows)[1] for e in (engine, oracle))
    assert 0 < np.abs(got - wanted).max() < LOGITS["packed"]


@pytest.mark.parametrize("weights", FORMATS)
def test_a_packed_store_is_memory_mapped(weights: WeightFormat, tmp_path: Path) -> None:
    convert(DEMO, tmp_path / "store", weights=weights)
    engine, oracle = (open_engine(tmp_path / "store", engine=n) for n in ("native", "reference"))
    assert isinstance(engine, NativeEngine)
    tokens = np.arange(100, 100 + LENGTH, dtype=np.int32)
    rows = list(range(LENGTH))
    got, wanted = (e.session().extend(tokens, chain(LENGTH), rows)[1] for e in (engine, oracle))
    assert np.abs(got - wanted).max() < LOGITS["packed"]
    assert engine.weights.read_bytes < (tmp_path / "store" / "model.safetensors").stat().st_size


def test_read_bytes_count_packed_weights():
    config = shape(n_embd=64, n_head=4, n_layer=1, vocab_size=128)
    matrices = {
        weights: measure(both(config, weights)[0], 0.0).weight_bytes
        for weights in ("f32", "f16", "q8", "q4")
    }
    blocks, words = 12 * 64 * 64, 128 * 64
    assert matrices["f32"] == 4 * (blocks + words)
    assert matrices["f16"] == 2 * (blocks + words)
    assert matrices["q8"] == (blocks + words) * 66 // 64
    assert matrices["q4"] == blocks * 18 // 32 + words * 66 // 64
