"""Configuration keys that change nothing are a note; those that may, are refused."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from transformers import GenerationConfig, GPT2LMHeadModel, TrainingArguments

from cpm_lm.checkpoints.convert import convert
from cpm_lm.checkpoints.layouts.store import Store
from cpm_lm.config import GPTConfig, passed_over
from cpm_lm.errors import ConfigError
from tests.support.make_pretrained import random_model, write_config

SHAPE: dict[str, Any] = {
    "vocab_size": 48,
    "n_positions": 24,
    "n_embd": 24,
    "n_layer": 3,
    "n_head": 4,
}


@pytest.fixture(scope="module")
def model() -> GPT2LMHeadModel:
    return random_model()


def written(directory: Path, model: GPT2LMHeadModel, **more: Any) -> Path:
    model.save_pretrained(directory)
    return write_config(directory, model, **more)


def test_the_note_names_the_keys(tmp_path: Path, model: GPT2LMHeadModel) -> None:
    more = {"_num_labels": 5, "_commit_hash": "1f", "learning_rate": 1e-4, "license": "mit"}
    plain = convert(written(tmp_path / "plain", model), tmp_path / "a")
    manifest = convert(written(tmp_path / "in", model, **more), tmp_path / "b")
    assert Store.open(tmp_path / "a").config == Store.open(tmp_path / "b").config
    (note,) = set(manifest.notes) - set(plain.notes)
    assert all(key in note for key in more)


GENERATION = sorted(GenerationConfig().to_dict())
TRAINING = sorted(field.name for field in dataclasses.fields(TrainingArguments))


@pytest.mark.parametrize("keys", [GENERATION, TRAINING], ids=["generation", "training"])
def test_every_key_of_transformers_is_passed_over(keys: list[str]) -> None:
    """transformers is the judge of which names are of generation and of training."""
    assert len(keys) > 50
    assert GPTConfig.from_json({**SHAPE, **dict.fromkeys(keys, 0)}) == GPTConfig(**SHAPE)


CHANGING = {
    "rotary_dim": 64, "position_embedding_type": "relative", "n_kv_head": 2, "alibi": True,
    "sliding_window": 128, "parallel_residual": True, "logit_scale": 0.5, "num_experts": 8,
    "auto_map": {"AutoModelForCausalLM": "own.Model"}, "attention_bias": False, "softcap": 30.0,
}  # fmt: skip


@pytest.mark.parametrize("key", CHANGING)
def test_keys_that_may_change_the_computation_are_refused(key: str) -> None:
    with pytest.raises(ConfigError, match=rf"unknown keys .*{key}"):
        GPTConfig.from_json({**SHAPE, key: CHANGING[key]})


def test_only_a_tokenizers_own_code_is_passed_over() -> None:
    assert passed_over({"auto_map": {"AutoTokenizer": ["own.Tokenizer", None]}}) == ["auto_map"]
    assert passed_over(SHAPE | {"use_cache": True, "_name_or_path": "x"}) == []


def test_many_unknown_keys_are_cut_short() -> None:
    with pytest.raises(ConfigError, match=r"key9 and 290 more|and 290 more") as caught:
        GPTConfig.from_json(SHAPE | {f"key{i}": i for i in range(300)})
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("value", [{"quant_method": "bitsandbytes"}, {}, "awq"])
def test_weights_packed_elsewhere_have_their_own_message(value: Any) -> None:
    with pytest.raises(ConfigError, match=r"quantization_config says .* --weights q8 or q4"):
        GPTConfig.from_json(SHAPE | {"quantization_config": value})
    assert GPTConfig.from_json(SHAPE | {"quantization_config": None}) == GPTConfig(**SHAPE)
