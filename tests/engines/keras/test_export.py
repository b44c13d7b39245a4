"""Export on both backends: a Keras file on each, a SavedModel on TensorFlow only."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from cpm_lm.errors import EngineError
from cpm_lm.gpt.export import export
from tests.support.tolerances import LOGITS

pytestmark = pytest.mark.keras

LOADED = """
import sys
import keras, numpy as np
import cpm_lm.gpt.gpt  # its classes are known to Keras from now on
model = keras.saving.load_model(sys.argv[1])
np.save(sys.argv[3], keras.ops.convert_to_numpy(model(np.load(sys.argv[2]))))
"""


def test_a_keras_file_is_loaded_by_keras(tiny, reference, tmp_path):
    done = export(tiny, tmp_path / "out.keras", format="keras", weights="bf16")
    assert done.bytes == (tmp_path / "out.keras").stat().st_size
    np.save(tmp_path / "ids.npy", reference["input_ids"])
    names = [tmp_path / name for name in ("out.keras", "ids.npy", "logits.npy")]
    subprocess.run([sys.executable, "-c", LOADED, *names], check=True, cwd=tmp_path)
    found = np.load(tmp_path / "logits.npy")
    assert np.abs(found - reference["logits"]).max() < LOGITS["bfloat16"]


def test_a_saved_model_needs_tensorflow(tiny, backend, tmp_path):
    if backend == "tensorflow":
        assert export(tiny, tmp_path / "out", format="saved-model").weights == "f32"
    else:
        with pytest.raises(EngineError, match="Keras already runs on jax"):
            export(tiny, tmp_path / "out", format="saved-model")
        assert not list(tmp_path.iterdir())
