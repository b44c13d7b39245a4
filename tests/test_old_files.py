"""Files of version 0.1.0 still open, with the same logits.

`tests/data/written-by-0.1` has a random model as stores in four formats and as two Keras files;
`logits.npz` has the logits of that version's reference engine.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import cpm_lm
from cpm_lm.engines.forest import chain

WRITTEN = Path(__file__).parent / "data" / "written-by-0.1"
FORMATS = ("f32", "f16", "q8", "q4")


def recorded() -> dict[str, np.ndarray]:
    return dict(np.load(WRITTEN / "logits.npz"))


@pytest.mark.parametrize("weights", FORMATS)
def test_a_store_still_opens(weights: str) -> None:
    found = recorded()
    ids = found["ids"]
    session = cpm_lm.open_engine(WRITTEN / weights, engine="reference").session(len(ids))
    _, logits = session.extend(ids.tolist(), chain(len(ids)), list(range(len(ids))))
    np.testing.assert_array_equal(logits, found[weights])


@pytest.mark.parametrize("weights", FORMATS)
def test_a_store_still_passes_verify(weights: str) -> None:
    assert cpm_lm.verify(WRITTEN / weights).problems == []


@pytest.mark.keras
@pytest.mark.parametrize(("file", "weights"), [("gpt.keras", "f32"), ("gpt-f16.keras", "f16")])
def test_a_keras_file_still_opens(file: str, weights: str) -> None:
    keras = pytest.importorskip("keras")
    import cpm_lm.gpt.gpt  # registers the model class  # noqa: F401

    found = recorded()
    model = keras.saving.load_model(WRITTEN / file)
    logits = np.asarray(model(found["ids"][None]))[0]
    np.testing.assert_allclose(logits, found[weights], atol=1e-4)
