"""The log-probabilities of every reference checkpoint's texts equal the original code's losses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from cpm_lm.checkpoints.convert import convert
from cpm_lm.decoding.path_scores import Path as TokenPath
from cpm_lm.decoding.path_scores import path_scores
from cpm_lm.decoding.scheduler import run
from cpm_lm.engines.select import open_engine
from tests.support.tolerances import LOGITS

DATA = Path(__file__).parents[1] / "data" / "checkpoints"
NAMES = sorted(path.parent.name for path in DATA.glob("*/reference.npz"))
KERAS = pytest.param("keras", marks=pytest.mark.keras)


@pytest.mark.parametrize("engine", ["reference", "native", KERAS])
@pytest.mark.parametrize("name", NAMES)
def test_logprobs_are_the_original_losses(name: str, engine: str, tmp_path: Path) -> None:
    with np.load(DATA / name / "reference.npz") as reference:
        heads = json.loads(str(reference["config"]))["num_attention_heads"]
        texts, losses = reference["input_ids"].tolist(), reference["ce_tokens"]
    convert(DATA / name, tmp_path / "store", heads=heads)
    if engine == "keras":
        import keras

        engine = keras.backend.backend()
    opened = open_engine(tmp_path / "store", engine=engine)  # type: ignore[arg-type]
    session = opened.session(600)
    found = run(session, path_scores([TokenPath(tuple(text), 1) for text in texts]))
    scores = [[-token.logprob for token in text] for text in found.tokens]
    np.testing.assert_allclose(scores, losses, atol=LOGITS["float32"], rtol=0)
