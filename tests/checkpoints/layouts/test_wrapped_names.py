"""The same tensors under other names, one key deeper, or in one file: the same store of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from transformers import GPT2LMHeadModel

from cpm_lm.checkpoints.convert import convert
from cpm_lm.checkpoints.layouts.store import Store
from cpm_lm.checkpoints.source import open_source
from cpm_lm.errors import CheckpointError, ConfigError
from cpm_lm.verification.inspect import inspect
from tests.support.make_pretrained import random_model, state_of, write_bin, write_config, write_h5
from tests.support.make_shards import whole_model, write_shards

State = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def model() -> GPT2LMHeadModel:
    return random_model(n_layer=2)


def same(store: Path, model: GPT2LMHeadModel) -> None:
    opened = Store.open(store)
    for name, value in model.transformer.state_dict().items():
        assert np.array_equal(opened.float32(name), value.float().numpy()), name


def prefixed(prefix: str) -> Callable[[State], Any]:
    return lambda state: {prefix + name: value for name, value in state.items()}


WRAPS: dict[str, Callable[[State], Any]] = {
    "module.": prefixed("module."),
    "torch.compile": prefixed("_orig_mod."),
    "two wrappers": prefixed("module._orig_mod."),
    "lightning": prefixed("model.gpt."),
    "state_dict": lambda state: {"state_dict": state, "epoch": 3, "lr": 0.1},
    "model": lambda state: {"model": state, "optimizer": {"state": {0: torch.ones(3)}}},
    "model.module": lambda state: {"model": {"module": state}, "step": 1},
    "key and prefix": lambda state: {"state_dict": prefixed("module.")(state)},
    "any key": lambda state: {"generator": state},
    "beside a copy": lambda state: {
        "model": state,
        "ema": {name: value + 1 for name, value in state.items()},
    },
    "numbers beside": lambda state: {**state, "epoch": 3, "args": slice(1)},
}


@pytest.mark.parametrize("wrap", WRAPS)
@pytest.mark.parametrize("head", [True, False])
def test_one_prefix_and_one_key_more(
    tmp_path: Path, model: GPT2LMHeadModel, wrap: str, head: bool
) -> None:
    state = state_of(model, buffers=True)
    if head:
        state["lm_head.weight"] = state["transformer.wte.weight"]
    write_config(tmp_path / "in", model)
    torch.save(WRAPS[wrap](state), tmp_path / "in" / "pytorch_model.bin")
    manifest = convert(tmp_path / "in", tmp_path / "store")
    same(tmp_path / "store", model)
    assert len(manifest.ignored) == 4 + head  # the buffers of two layers, and the head


@pytest.mark.parametrize("prefix", ["", "transformer.", "module.transformer."])
def test_a_head_instead_of_the_embedding(
    tmp_path: Path, model: GPT2LMHeadModel, prefix: str
) -> None:
    state = {prefix + name: value for name, value in state_of(model, prefix=False).items()}
    outer = prefix.removesuffix("transformer.")
    state[f"{outer}lm_head.weight"] = state.pop(f"{prefix}wte.weight")
    write_bin(tmp_path / "in", model, state)
    manifest = convert(tmp_path / "in", tmp_path / "store")
    same(tmp_path / "store", model)
    assert any("lm_head.weight, which is the same matrix" in note for note in manifest.notes)
    write_config(tmp_path / "in", model, tie_word_embeddings=False)
    with pytest.raises(CheckpointError, match=r"wte\.weight is missing"):
        convert(tmp_path / "in", tmp_path / "other")


def test_several_models_in_one_file_are_not_guessed_at(
    tmp_path: Path, model: GPT2LMHeadModel
) -> None:
    write_config(tmp_path / "in", model)
    both = {"first": state_of(model), "second": state_of(random_model(n_layer=2, seed=3))}
    torch.save(both, tmp_path / "in" / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="several models, under first; second"):
        convert(tmp_path / "in", tmp_path / "store")


class Wrapped:
    """Something else than a tensor."""


@pytest.mark.parametrize(
    ("value", "named"),
    [(Wrapped(), "test_wrapped_names.Wrapped"), (3, "int"), (np.ones(3), "_reconstruct")],
)
def test_what_stands_in_the_place_of_a_tensor_is_refused_by_name(
    tmp_path: Path, model: GPT2LMHeadModel, value: Any, named: str
) -> None:
    write_config(tmp_path / "in", model)
    state = {**state_of(model), "transformer.h.1.ln_1.bias": value}
    torch.save(state, tmp_path / "in" / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=rf"h\.1\.ln_1\.bias is .*{named}"):
        convert(tmp_path / "in", tmp_path / "store")
    folder = write_shards(
        tmp_path / "shards",
        edit=lambda _, root: root["module"].update({"position_embeddings.weight": value}),
    )
    with pytest.raises(CheckpointError, match=rf"position_embeddings\.weight is .*{named}"):
        convert(folder, tmp_path / "store", heads=4)


def test_a_whole_model_is_refused_by_its_class(tmp_path: Path, model: GPT2LMHeadModel) -> None:
    write_config(tmp_path / "in", model)
    torch.save(model, tmp_path / "in" / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"GPT2LMHeadModel.*state_dict\(\), not the model"):
        convert(tmp_path / "in", tmp_path / "store")


FILES: dict[str, Callable[[Path, State, GPT2LMHeadModel], object]] = {
    "chinese.bin": lambda path, state, _: torch.save(state, path),
    "chinese.pt": lambda path, state, _: torch.save({"state_dict": state}, path),
    "old.pth": lambda path, state, _: torch.save(state, path, _use_new_zipfile_serialization=False),
    "chinese.safetensors": lambda path, state, _: save_file(state, path),
    "pytorch_model.bin": lambda path, state, _: torch.save(state, path),
    "tf.h5": lambda path, _, model: (
        write_h5(path.parent / "x", model).joinpath("tf_model.h5").rename(path)
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_a_single_file(tmp_path: Path, model: GPT2LMHeadModel, name: str) -> None:
    (tmp_path / "in").mkdir()
    file = tmp_path / "in" / name
    FILES[name](file, state_of(model), model)
    assert inspect(file).n_layer == 2
    with pytest.raises(ConfigError, match=r"no config\.json lies beside .*--config"):
        convert(file, tmp_path / "store")
    config = write_config(tmp_path / "said", model) / "config.json"
    convert(file, tmp_path / "store", config=config)
    same(tmp_path / "store", model)
    write_config(tmp_path / "in", model)
    convert(file, tmp_path / "again")
    same(tmp_path / "again", model)


def test_one_of_several_files_stands_for_all(tmp_path: Path, model: GPT2LMHeadModel) -> None:
    folder = write_bin(tmp_path / "in", model, state_of(model), shards=3)
    convert(folder / "pytorch_model-00002-of-00003.bin", tmp_path / "store")
    same(tmp_path / "store", model)
    convert(folder / "pytorch_model.bin.index.json", tmp_path / "again")
    same(tmp_path / "again", model)


def test_a_file_inside_a_store_is_the_store(tmp_path: Path, model: GPT2LMHeadModel) -> None:
    model.save_pretrained(tmp_path / "in")
    convert(tmp_path / "in", tmp_path / "store", weights="q8")
    for name in ("model.safetensors", "config.json", "manifest.json"):
        assert open_source(tmp_path / "store" / name).packed == "q8"


@pytest.mark.parametrize("layout", ["deepspeed", "megatron"])
@pytest.mark.parametrize("wrap", ["module.", "bare", "deeper", "state_dict"])
def test_megatrons_names_and_wrappers(tmp_path: Path, layout: str, wrap: str) -> None:
    key = "module" if layout == "deepspeed" else "model"

    def edit(_: int, root: dict[str, Any]) -> None:
        weights = root.pop(key)
        if wrap == "module.":
            root[key] = prefixed("module.")(weights)
        elif wrap == "bare":
            root.update(weights)
        elif wrap == "deeper":
            root[key] = {"module": weights}
        else:
            root["state_dict"] = weights

    convert(write_shards(tmp_path / "plain", layout=layout), tmp_path / "a", heads=4)
    convert(write_shards(tmp_path / "in", layout=layout, edit=edit), tmp_path / "b", heads=4)
    found, wanted = ((tmp_path / n / "model.safetensors").read_bytes() for n in "ba")
    assert found == wanted


def test_a_whole_megatron_model_in_a_file_of_another_name(tmp_path: Path) -> None:
    torch.save({"module": whole_model()}, tmp_path / "cpm.pt")
    convert(tmp_path / "cpm.pt", tmp_path / "a", heads=4)
    convert(write_shards(tmp_path / "in", ranks=2), tmp_path / "b", heads=4)
    found, wanted = ((tmp_path / n / "model.safetensors").read_bytes() for n in "ab")
    assert found == wanted


class LossScaler:
    """As DeepSpeed's and CPM-1's own float16 checkpoints keep one."""

    def __init__(self) -> None:
        self.cur_scale = 2.0**16


@pytest.mark.parametrize("layout", ["deepspeed", "megatron"])
@pytest.mark.parametrize("zipped", [True, False])
def test_objects_beside_the_weights_are_noted(tmp_path: Path, layout: str, zipped: bool) -> None:
    """They refused CPM-1's own float16 checkpoints, and DeepSpeed's newer ones."""

    def edit(_: int, root: dict[str, Any]) -> None:
        root["optimizer"] = {"loss_scaler": LossScaler(), "fp32_groups": [[torch.ones(4)]]}
        root["param_shapes"] = [{"word_embeddings.weight": torch.Size([32, 16])}]

    how = {"layout": layout, "dtype": torch.float16}
    convert(write_shards(tmp_path / "plain", **how), tmp_path / "a", heads=4, weights="f16")
    source = write_shards(tmp_path / "in", **how, edit=edit, zipped=zipped)
    manifest = convert(source, tmp_path / "b", heads=4, weights="f16")
    found, wanted = ((tmp_path / n / "model.safetensors").read_bytes() for n in "ba")
    assert found == wanted
    notes = [note for note in manifest.notes if "objects beside the weights" in note]
    assert all("LossScaler" in note and "torch.Size" in note for note in notes)
    assert len(notes) == (2 if layout == "deepspeed" else 1)  # one for each name of a file
    assert notes[0] in inspect(source).warnings


def test_long_lists_of_problems_are_cut(tmp_path: Path, model: GPT2LMHeadModel) -> None:
    """One error had 37,471 characters for a model of 32 layers."""
    write_config(tmp_path / "in", model, n_layer=32)
    torch.save(state_of(model), tmp_path / "in" / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"\(360 problems\).* and 350 more") as caught:
        convert(tmp_path / "in", tmp_path / "store")
    assert len(str(caught.value)) < 1000

    def edit(_: int, root: dict[str, Any]) -> None:
        root["module"] = {
            k: v for k, v in root["module"].items() if "layers." not in k or ".1." in k
        }

    with pytest.raises(CheckpointError, match=r" more\. Are all") as caught:
        convert(write_shards(tmp_path / "shards", edit=edit), tmp_path / "store", heads=4)
    assert len(str(caught.value)) < 1500
