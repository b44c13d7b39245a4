"""Every file format of Hugging Face's GPT-2 gives a store with the logits of transformers."""

from __future__ import annotations

import json
import subprocess
import sys
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
from cpm_lm.choices import WeightFormat
from cpm_lm.engines.forest import chain
from cpm_lm.engines.select import open_engine
from cpm_lm.errors import CheckpointError
from cpm_lm.verification.inspect import inspect
from tests.support.make_pretrained import (
    TF_SCOPES,
    logits_of,
    random_model,
    state_of,
    write_bin,
    write_config,
    write_h5,
    write_h5_shards,
)
from tests.support.tolerances import LOGITS

IDS = [3, 1, 4, 1, 5, 9, 2, 6, 47, 0]


def our_logits(store: Path) -> np.ndarray:
    session = open_engine(store, engine="reference").session()
    parents = chain(len(IDS))
    return session.extend(IDS, parents, list(range(len(IDS))))[1]


@pytest.fixture(scope="module")
def model() -> GPT2LMHeadModel:
    return random_model()


def as_saved(directory: Path, model: GPT2LMHeadModel) -> Path:
    model.save_pretrained(directory)
    assert (directory / "model.safetensors").is_file()
    return directory


def as_saved_in_shards(directory: Path, model: GPT2LMHeadModel) -> Path:
    model.save_pretrained(directory, max_shard_size="20KB")
    assert len(list(directory.glob("model-*.safetensors"))) > 3
    return directory


def safetensors(**how: bool) -> Callable[[Path, GPT2LMHeadModel], Path]:
    def write(directory: Path, model: GPT2LMHeadModel) -> Path:
        write_config(directory, model)
        save_file(state_of(model, **how), directory / "model.safetensors")
        return directory

    return write


def torch_file(shards: int = 1, *, tied: bool = False, **how: bool) -> Any:
    def write(directory: Path, model: GPT2LMHeadModel) -> Path:
        state = state_of(model, **how)
        if tied:
            state["lm_head.weight"] = next(iter(state.values()))
        return write_bin(directory, model, state, shards)

    return write


def keras(scope: str) -> Callable[[Path, GPT2LMHeadModel], Path]:
    return lambda directory, model: write_h5(directory, model, scope)


FORMS = {
    "saved": as_saved,
    "saved in shards": as_saved_in_shards,
    "safetensors, no prefix": safetensors(prefix=False),
    "safetensors, buffers": safetensors(buffers=True),
    "torch file": torch_file(),
    "torch file, no prefix, buffers": torch_file(prefix=False, buffers=True),
    "torch file with the output matrix": torch_file(tied=True),
    "torch shards": torch_file(3, tied=True, buffers=True),
    "h5 shards": write_h5_shards,
    **{f"h5 {scope or 'bare'}": keras(scope) for scope in TF_SCOPES},
}


@pytest.mark.parametrize("write", FORMS.values(), ids=FORMS)
def test_every_file_format_gives_the_logits_of_transformers(
    tmp_path: Path, model: GPT2LMHeadModel, write: Callable[[Path, GPT2LMHeadModel], Path]
) -> None:
    source = write(tmp_path / "in", model)
    manifest = convert(source, tmp_path / "store")
    assert manifest.layout == "huggingface"
    assert {record.name for record in manifest.sources} >= {"config.json"}
    for name, value in model.transformer.state_dict().items():
        assert np.array_equal(Store.open(tmp_path / "store").float32(name), value.numpy()), name
    difference = np.abs(our_logits(tmp_path / "store") - logits_of(model, IDS)).max()
    assert difference < LOGITS["float32"]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_16_bit_files_are_read_exactly(tmp_path: Path, dtype: torch.dtype) -> None:
    model = random_model().to(dtype)
    model.save_pretrained(tmp_path / "in")
    kind: WeightFormat = "f16" if dtype == torch.float16 else "bf16"
    assert inspect(tmp_path / "in").weights == kind
    convert(tmp_path / "in", tmp_path / "store", weights=kind)
    store = Store.open(tmp_path / "store")
    for name, value in model.transformer.state_dict().items():
        assert np.array_equal(store.float32(name), value.float().numpy())


@pytest.mark.parametrize("said", ["gelu_new", "gelu", "gelu_pytorch_tanh", "gelu_fast"])
def test_the_configured_gelu_is_used(tmp_path: Path, said: str) -> None:
    model = random_model(activation_function=said)
    model.save_pretrained(tmp_path / "in")
    convert(tmp_path / "in", tmp_path / "store")
    theirs = logits_of(model, IDS)
    assert np.abs(our_logits(tmp_path / "store") - theirs).max() < LOGITS["float32"]
    other = random_model(activation_function="gelu_new" if said == "gelu" else "gelu")
    assert np.abs(logits_of(other, IDS) - theirs).max() > 10 * LOGITS["float32"]


def test_ignored_tensors_are_listed(tmp_path: Path, model: GPT2LMHeadModel) -> None:
    source = torch_file(tied=True, buffers=True)(tmp_path / "in", model)
    expected = {f"transformer.h.{i}.attn.{n}" for i in range(3) for n in ("bias", "masked_bias")}
    expected |= {"lm_head.weight"}
    assert set(inspect(source).ignored) == expected
    manifest = convert(source, tmp_path / "store")
    assert set(manifest.ignored) == expected
    kept = json.loads((tmp_path / "store" / "manifest.json").read_text())
    assert set(kept["ignored"]) == expected


def test_of_several_file_formats_the_first_is_read(tmp_path: Path, model: GPT2LMHeadModel) -> None:
    source = write_h5(tmp_path / "in", random_model(seed=1))
    write_bin(source, model, state_of(random_model(seed=2)))
    model.save_pretrained(source)
    assert [file.name for file in inspect(source).files] == ["config.json", "model.safetensors"]
    convert(source, tmp_path / "store")
    store = Store.open(tmp_path / "store")
    assert np.array_equal(store.float32("wte.weight"), model.transformer.wte.weight.detach())


def test_files_may_be_symlinks_as_in_the_hub_cache(tmp_path: Path, model: GPT2LMHeadModel) -> None:
    source = as_saved_in_shards(tmp_path / "blobs", model)
    (tmp_path / "snapshot").mkdir()
    for file in source.iterdir():
        (tmp_path / "snapshot" / file.name).symlink_to(file)
    convert(tmp_path / "snapshot", tmp_path / "store")


def old_settings(**more: Any) -> dict[str, Any]:
    """A configuration of 2019, as GPT2-Chinese has it."""
    return {
        "attn_pdrop": 0.1, "embd_pdrop": 0.1, "finetuning_task": None, "initializer_range": 0.02,
        "layer_norm_epsilon": 1e-5, "n_ctx": 24, "n_embd": 24, "n_head": 4, "n_layer": 3,
        "n_positions": 24, "num_labels": 1, "output_attentions": False, "vocab_size": 48,
        "output_hidden_states": False, "output_past": True, "pruned_heads": {},
        "torchscript": False, "resid_pdrop": 0.1, "summary_activation": None,
        "summary_first_dropout": 0.1, "summary_proj_to_labels": True, "summary_use_proj": True,
        "summary_type": "cls_index", "use_bfloat16": False, **more,
    }  # fmt: skip


def test_an_old_configuration_is_read(tmp_path: Path, model: GPT2LMHeadModel) -> None:
    write_bin(tmp_path / "in", model, state_of(model, buffers=True))
    (tmp_path / "in" / "config.json").write_text(json.dumps(old_settings()))
    assert convert(tmp_path / "in", tmp_path / "store").notes == ()
    assert Store.open(tmp_path / "store").config.activation_function == "gelu_new"


def test_missing_weights_or_configuration_are_refused(
    tmp_path: Path, model: GPT2LMHeadModel
) -> None:
    write_config(tmp_path / "in", model)
    with pytest.raises(CheckpointError, match=r"no weights under .*pytorch_model\.bin.*found conf"):
        convert(tmp_path / "in", tmp_path / "store")
    as_saved(tmp_path / "in", model)
    (tmp_path / "in" / "config.json").unlink()
    with pytest.raises(CheckpointError, match=r"has weights but no config\.json"):
        convert(tmp_path / "in", tmp_path / "store")


MEMORY = """
import sys, threading
from cpm_lm.checkpoints.convert import convert
def private():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))
def watch():
    global peak
    while not done.wait(0.001):
        peak = max(peak, private())
convert(sys.argv[1], sys.argv[3] + "-small")
before, peak, done = private(), 0, threading.Event()
watcher = threading.Thread(target=watch)
watcher.start()
convert(sys.argv[2], sys.argv[3], weights="f16")
done.set()
watcher.join()
print(peak - before)
"""


@pytest.mark.parametrize("form", ["torch file with the output matrix", "h5 bare"])
def test_memory_stays_below_one_tensor(tmp_path: Path, form: str) -> None:
    write = FORMS[form]
    small = write(tmp_path / "small", random_model())
    # The word embedding takes 61 MB; the blocks that are read have a fixed size.
    big = write(tmp_path / "big", random_model(vocab_size=30_000, n_embd=512, n_head=8, n_layer=1))
    command = [sys.executable, "-c", MEMORY, small, big, tmp_path / "store"]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    assert 0 < int(found.stdout) < 40_000_000, found.stdout
