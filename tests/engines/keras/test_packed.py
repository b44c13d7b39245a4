"""Stores in 8 and 4 bits are dequantized into the Keras model, in every dtype policy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cpm_lm.checkpoints.convert import convert
from cpm_lm.checkpoints.layouts.store import Store
from cpm_lm.choices import EngineName, WeightFormat
from cpm_lm.engines.select import open_engine
from cpm_lm.gpt.load import keras_model
from tests.support.tolerances import LOGITS

pytestmark = pytest.mark.keras

IDS, PARENTS = [3, 1, 4, 1, 5, 9], [-1, -2, -3, -3, -1, -6]
"""A forest of two roots, one with two branches."""


@pytest.mark.parametrize("weights", ["q8", "q4"])
def test_engines_agree_on_packed_stores(
    weights: WeightFormat, tiny: Path, backend: EngineName, tmp_path: Path
) -> None:
    convert(tiny, tmp_path / weights, weights=weights)
    names: tuple[EngineName, ...] = ("reference", backend)
    logits = [
        open_engine(tmp_path / weights, engine=name).session(8).extend(IDS, PARENTS, range(6))[1]
        for name in names
    ]
    assert np.abs(logits[0] - logits[1]).max() < LOGITS["float32"]


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "mixed_float16"])
def test_a_packed_store_loads_in_every_policy(dtype: str, tiny: Path, tmp_path: Path) -> None:
    convert(tiny, tmp_path / "q4", weights="q4")
    model = keras_model(tmp_path / "q4", dtype=dtype)
    stored = np.asarray(model.wte.embeddings.value, np.float32)
    wide = Store.open(tmp_path / "q4").float32("wte.weight")
    room = {"float16": 2**-11, "bfloat16": 2**-8}.get(dtype, 0)
    assert np.abs(stored - wide).max() <= room * np.abs(wide).max()
    assert np.isfinite(np.asarray(model(np.array([IDS])), np.float32)).all()
