"""The check finds biases of q, k and v in the wrong order, and never reports right ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import cpm_lm
from cpm_lm.checkpoints.known.qkv_bias_order import looks_misjoined
from cpm_lm.checkpoints.layouts.store import Store
from cpm_lm.verification.inspect import inspect
from tests.support.make_pretrained import random_model, state_of, write_bin

DEMO = Path(cpm_lm.__file__).parent / "demo"


def wrong_order(bias: np.ndarray) -> np.ndarray:
    """The wrong order that the published conversion gives for two ranks: q0 k0 v0 q1 k1 v1."""
    return bias.reshape(3, 2, -1).transpose(1, 0, 2).reshape(-1)


@pytest.fixture(scope="module")
def trained() -> list[np.ndarray]:
    """The biases of the packaged model, whose initial values were zero."""
    store = Store.open(DEMO)
    return [store.float32(f"h.{i}.attn.c_attn.bias") for i in range(store.config.n_layer)]


def test_a_trained_model_is_right_and_its_reordered_biases_are_found(
    trained: list[np.ndarray],
) -> None:
    assert not looks_misjoined(trained)
    assert looks_misjoined(map(wrong_order, trained))


def test_biases_without_evidence_are_not_reported() -> None:
    rng = np.random.default_rng(0)
    assert not looks_misjoined([])
    assert not looks_misjoined([np.zeros(48, np.float32)] * 4)
    assert not looks_misjoined([np.full(48, np.nan, np.float32)] * 4)
    assert not looks_misjoined([rng.normal(size=9).astype(np.float32)] * 4)


@pytest.mark.parametrize("seed", range(20))
def test_random_biases_are_not_reported(seed: int) -> None:
    rng = np.random.default_rng(seed)
    biases = [rng.normal(size=72).astype(np.float32) for _ in range(6)]
    assert not looks_misjoined(biases)
    assert not looks_misjoined(map(wrong_order, biases))


def test_inspect_and_convert_report_it(tmp_path: Path) -> None:
    model = random_model()
    state = state_of(model)
    for layer in range(3):
        name = f"transformer.h.{layer}.attn.c_attn.bias"
        right = state[name] * torch.tensor([1, 0.3, 0.1]).repeat_interleave(24)
        state[name] = torch.from_numpy(wrong_order(right.numpy()))
    write_bin(tmp_path / "in", model, state)
    reported = [
        line for line in inspect(tmp_path / "in").warnings if "a plain concatenation" in line
    ]
    assert len(reported) == 1
    assert reported[0] in cpm_lm.convert(tmp_path / "in", tmp_path / "store").notes
