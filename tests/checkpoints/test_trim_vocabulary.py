"""An embedding that Megatron padded, and weights in float64."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cpm_lm.checkpoints.convert import convert
from cpm_lm.checkpoints.dtypes import reformatted, to_float32
from cpm_lm.checkpoints.layouts.store import Store
from cpm_lm.choices import WeightFormat
from cpm_lm.config import GPTConfig
from cpm_lm.errors import ConfigError, CpmError, TokenizerError
from cpm_lm.tokenizer import Tokenizer
from cpm_lm.verification.inspect import inspect
from tests.support.make_pretrained import random_model, state_of, write_bin
from tests.support.make_shards import write_shards
from tests.support.tiny_vocabulary import train


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(tmp_path_factory.mktemp("vocabulary"))


def padded(size: int) -> int:
    """Megatron's padding for two ranks."""
    return -(-size // 256) * 256


@pytest.mark.parametrize("weights", ["f32", "f16", "q8"])
def test_surplus_rows_are_cut(tmp_path: Path, vocabulary: Path, weights: WeightFormat) -> None:
    size = Tokenizer.load(vocabulary).vocab_size
    source = write_shards(tmp_path / "in", vocab=padded(size), scale=0.1)
    words: dict[str, Any] = {"heads": 4, "tokenizer": vocabulary, "weights": weights}
    with pytest.raises(TokenizerError, match=r"pieces, but .* rows.*--trim-vocabulary"):
        convert(source, tmp_path / "store", **words)
    manifest = convert(source, tmp_path / "store", **words, trim_vocabulary=True)
    assert any(f"from {padded(size):,} to {size:,} rows" in note for note in manifest.notes)
    convert(source, tmp_path / "whole", heads=4, weights=weights)
    cut, whole = Store.open(tmp_path / "store"), Store.open(tmp_path / "whole")
    assert cut.config.vocab_size == size
    for name in cut.names:
        expected = whole.float32(name)
        assert np.array_equal(cut.float32(name), expected[:size] if "wte" in name else expected)


def test_a_store_and_hugging_faces_files_are_cut_as_well(tmp_path: Path, vocabulary: Path) -> None:
    size = Tokenizer.load(vocabulary).vocab_size
    model = random_model(vocab_size=padded(size), n_layer=1)
    source = write_bin(tmp_path / "in", model, state_of(model))
    for weights in ("f32", "q8"):
        convert(source, tmp_path / weights, weights=weights)
        convert(
            tmp_path / weights, tmp_path / f"cut-{weights}", tokenizer=vocabulary,
            trim_vocabulary=True,
        )  # fmt: skip
        assert Store.open(tmp_path / f"cut-{weights}").config.vocab_size == size
    shutil.copytree(vocabulary, source, dirs_exist_ok=True)
    convert(source, tmp_path / "hf", trim_vocabulary=True)
    expected = model.transformer.wte.weight.detach().numpy()[:size]
    for name in ("hf", "cut-f32"):
        assert np.array_equal(Store.open(tmp_path / name).float32("wte.weight"), expected)


def test_a_configuration_says_the_number_as_well(tmp_path: Path) -> None:
    source = write_shards(tmp_path / "in", vocab=32)
    config = GPTConfig(vocab_size=30, n_positions=8, n_embd=16, n_layer=2, n_head=4)
    with pytest.raises(ConfigError, match=r"vocab_size 30, expected 32.*--trim-vocabulary"):
        convert(source, tmp_path / "store", config=config)
    convert(source, tmp_path / "store", config=config, trim_vocabulary=True)
    assert Store.open(tmp_path / "store").config == config
    with pytest.raises(ConfigError, match=r"needs the number of pieces.*--tokenizer"):
        convert(source, tmp_path / "other", heads=4, trim_vocabulary=True)


def test_no_rows_are_made_up(tmp_path: Path, vocabulary: Path) -> None:
    size = Tokenizer.load(vocabulary).vocab_size
    source = write_shards(tmp_path / "in", vocab=size - 2, ranks=1)
    with pytest.raises(CpmError, match="pieces, but"):
        convert(source, tmp_path / "store", heads=4, tokenizer=vocabulary, trim_vocabulary=True)


@pytest.mark.parametrize("weights", ["f32", "f16", "bf16", "q8"])
def test_float64_is_rounded_once(tmp_path: Path, weights: WeightFormat) -> None:
    """It was refused. PyTorch is the judge of the rounding to float32."""
    model = random_model(n_layer=1).double()
    with torch.no_grad():
        for value in model.parameters():
            value.add_(torch.randn_like(value) * 1e-9)
    source = write_bin(tmp_path / "in", model, state_of(model))
    assert inspect(source).weights == "f32"
    assert any("float64" in warning for warning in inspect(source).warnings)
    manifest = convert(source, tmp_path / "store", weights=weights)
    assert any("float64" in note for note in manifest.notes)
    if weights == "f32":
        for name, value in model.transformer.state_dict().items():
            found = Store.open(tmp_path / "store").float32(name)
            assert np.array_equal(found, value.float().numpy())
    shards = write_shards(tmp_path / "shards", dtype=torch.float64)
    convert(shards, tmp_path / "from-shards", heads=4, weights=weights)
    convert(write_shards(tmp_path / "single"), tmp_path / "from-single", heads=4, weights=weights)
    a, b = (
        (tmp_path / f"from-{n}" / "model.safetensors").read_bytes() for n in ("shards", "single")
    )
    assert a == b


@given(st.integers(0, 0x7BFE), st.sampled_from([-1, 0, 1]), st.sampled_from(["F16", "BF16"]))
def test_no_number_is_rounded_twice(bits: int, nudge: int, wanted: str) -> None:
    """By way of float32, a number just over the middle of two others went to the lower one."""
    pair = np.array([bits, bits + 1], np.uint16)
    low, high = to_float32(pair.view(np.float16) if wanted == "F16" else pair, wanted).tolist()
    value = (low + high) / 2
    if nudge:
        value = float(np.nextafter(value, high if nudge > 0 else low))
    nearest = bits + (nudge > 0 or (nudge == 0 and bits % 2))
    for sign in (1, -1):
        found = reformatted(np.array([sign * value]), "F64", wanted).view(np.uint16)
        assert found[0] == nearest + (0x8000 if sign < 0 else 0)


def test_float64_beyond_float32_is_refused(tmp_path: Path) -> None:
    def edit(_: int, root: dict[str, Any]) -> None:
        root["module"]["position_embeddings.weight"][0, 0] = 1e300

    source = write_shards(tmp_path / "in", dtype=torch.float64, edit=edit)
    for weights in ("f32", "bf16", "q8"):
        with pytest.raises(CpmError, match=r"wpe\.weight holds 1 "):
            convert(source, tmp_path / "store", heads=4, weights=weights)
