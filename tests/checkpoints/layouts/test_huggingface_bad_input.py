"""Errors for Hugging Face directories that cannot be used: all problems in one error."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from transformers import GPT2LMHeadModel

from cpm_lm.checkpoints.convert import convert
from cpm_lm.checkpoints.source import open_source
from cpm_lm.config import GPTConfig
from cpm_lm.errors import CheckpointError, ConfigError, CpmError
from cpm_lm.installation import pip_install
from cpm_lm.verification.inspect import inspect
from tests.support.examples import examples
from tests.support.make_pretrained import (
    random_model,
    state_of,
    tf_name,
    write_bin,
    write_config,
    write_h5,
)


@pytest.fixture(scope="module")
def model() -> GPT2LMHeadModel:
    return random_model(n_layer=2)


@pytest.fixture
def folder(tmp_path: Path, model: GPT2LMHeadModel) -> Path:
    return write_config(tmp_path / "in", model)


def refused(folder: Path, message: str, error: type[CpmError] = CheckpointError) -> str:
    with pytest.raises(error, match=message) as raised:
        inspect(folder)
    with pytest.raises(error, match=message):
        convert(folder, folder.parent / "store")
    assert {entry.name for entry in folder.parent.iterdir()} <= {"in", "outside"}
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_all_problems_are_in_one_error(folder: Path, model: GPT2LMHeadModel) -> None:
    state = state_of(model)
    del state["transformer.ln_f.bias"], state["transformer.h.1.ln_1.weight"]
    state["transformer.h.0.mlp.c_fc.weight"] = state["transformer.h.0.mlp.c_fc.weight"].T
    state["transformer.wpe.weight"] = state["transformer.wpe.weight"].int()
    state["transformer.h.2.ln_1.bias"] = torch.zeros(24)
    state["score.weight"] = torch.zeros(2, 24)
    state["wte.weight"] = state["transformer.wte.weight"].clone()
    state["transformer.h.0.ln_2.bias"][3] = torch.nan
    torch.save(state, folder / "pytorch_model.bin")
    message = refused(folder, r"does not match config\.json \(8 problems\)")
    for part in (
        "ln_f.bias is missing",
        "h.1.ln_1.weight is missing",
        "h.0.mlp.c_fc.weight has shape (96, 24), expected (24, 96)",
        "wpe.weight is I32, expected F64 or F32 or F16 or BF16",
        "h.2.ln_1.bias is not part of this model",
        "score.weight is not part of this model",
        "wte.weight occurs twice",
        "h.0.ln_2.bias holds 1 numbers that are not finite",
    ):
        assert part in message


def test_a_configuration_of_another_shape_is_refused(folder: Path, model: GPT2LMHeadModel) -> None:
    write_config(folder, model, n_layer=3, vocab_size=50)
    write_bin_state = state_of(model)
    torch.save(write_bin_state, folder / "pytorch_model.bin")
    message = refused(folder, r"wte\.weight has shape \(48, 24\), expected \(50, 24\)")
    assert "h.2.ln_1.weight is missing" in message
    assert message.count(";") == 9
    assert "(13 problems)" in message
    assert "and 3 more" in message


def test_weights_that_are_not_finite_are_refused(folder: Path, model: GPT2LMHeadModel) -> None:
    state = state_of(model)
    state["transformer.h.0.ln_2.bias"][3] = torch.inf
    torch.save(state, folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"h\.0\.ln_2\.bias holds 1 numbers .* not finite"):
        convert(folder, folder.parent / "store")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_a_separate_output_matrix_is_refused(
    folder: Path, model: GPT2LMHeadModel, dtype: torch.dtype
) -> None:
    state = state_of(model)
    head = state["transformer.wte.weight"].clone().to(dtype)
    head[7] += 1
    state["lm_head.weight"] = head
    save_file(state, folder / "model.safetensors")
    # In float16 all rows differ by rounding.
    rows = "1" if dtype == torch.float32 else "48"
    refused(folder, rf"lm_head\.weight differs from the word embedding in {rows} of 48 rows")
    state["lm_head.weight"] = head[:40].clone()
    save_file(state, folder / "model.safetensors")
    refused(folder, r"lm_head\.weight is F\d\d \(40, 24\), expected a copy of the word embedding")


def test_an_untied_model_without_output_matrix_is_refused(
    folder: Path, model: GPT2LMHeadModel
) -> None:
    write_config(folder, model, tie_word_embeddings=False)
    state = state_of(model)
    save_file(state, folder / "model.safetensors")
    refused(folder, r"lm_head\.weight is missing")
    state["lm_head.weight"] = state["transformer.wte.weight"].clone()
    save_file(state, folder / "model.safetensors")
    assert inspect(folder).ignored == ("lm_head.weight",)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "bert"}, "'bert'; expected 'gpt2'"),
        ({"activation_function": "relu"}, "'relu'"),
        ({"activation_function": ["gelu"]}, "gelu"),
        ({"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx is True"),
        ({"add_cross_attention": True}, "add_cross_attention"),
        ({"n_inner": 100}, "n_inner is 100"),
        ({"pruned_heads": {"0": [1]}}, "pruned_heads"),
        ({"quantization_config": {}}, "quantization_config says that the weights are packed,"),
        ({"quantization_config": {"quant_method": "gptq"}}, "packed by gptq.*16 or 32 bits"),
        ({"auto_map": {"AutoModelForCausalLM": "own.Model"}}, "unknown keys .*auto_map"),
        ({"rotary_dim": 64}, "unknown keys .*rotary_dim"),
        ({"layer_norm_epsilon": "small"}, "layer_norm_epsilon is 'small'"),
        ({"n_layer": 10**12}, "expected less than 10,000"),
        ({"n_embd": 10**4000}, "an integer of 4,001 digits"),
        ({"n_head": None}, "n_head is None"),
    ],
    ids=str,
)
def test_unsupported_configurations_are_refused(
    folder: Path, model: GPT2LMHeadModel, change: dict[str, Any], message: str
) -> None:
    write_config(folder, model, **change)
    save_file(state_of(model), folder / "model.safetensors")
    refused(folder, message, ConfigError)


@pytest.mark.parametrize(
    "content",
    [[1], {}, {"weights": 1}, "text", {"state": {"a": torch.ones(1)}}, {3: torch.ones(1)}],
)
def test_torch_files_without_a_model_are_refused(folder: Path, content: Any) -> None:
    torch.save(content, folder / "pytorch_model.bin")
    refused(folder, "expected a dictionary of tensors|these weights are not tensors")


NAMES = [
    "../outside/w.bin", "/etc/passwd", "..", ".", "", "a/b.bin", "a\\b.bin", "c:w.bin", 7, None,
    "w\x00.bin", "w\n.bin",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES, ids=ascii)
@pytest.mark.parametrize("kind", ["model.safetensors", "pytorch_model.bin"])
def test_an_index_cannot_name_files_outside_its_directory(
    folder: Path, kind: str, name: Any
) -> None:
    (folder.parent / "outside").mkdir()
    (folder.parent / "outside" / "w.bin").write_bytes(b"not to be read")
    index = {"weight_map": {"wte.weight": name}}
    (folder / f"{kind}.index.json").write_text(json.dumps(index))
    refused(folder, "names the file .* expected the plain name")


@pytest.mark.parametrize("text", ["[]", "{}", "{", '{"weight_map": []}', '{"weight_map": {}}'])
def test_a_damaged_index_is_refused(folder: Path, text: str) -> None:
    (folder / "pytorch_model.bin.index.json").write_text(text)
    refused(folder, r"pytorch_model\.bin\.index\.json")


def test_an_index_that_does_not_match_its_files_is_refused(
    folder: Path, model: GPT2LMHeadModel
) -> None:
    write_bin(folder, model, state_of(model), shards=2)
    path = folder / "pytorch_model.bin.index.json"
    index = json.loads(path.read_text())
    first, second = sorted(set(index["weight_map"].values()))
    places = index["weight_map"]
    moved = next(name for name, place in places.items() if place == first)
    places[moved] = second
    path.write_text(json.dumps(index))
    message = refused(folder, r"does not match its files \(2 problems\)")
    assert f"{second} lacks {moved}" in message
    assert f"{first} holds {moved}, which the index does not list there" in message
    (folder / second).unlink()
    refused(folder, f"lacks {re.escape(second)}, which")


def test_h5_without_h5py_names_the_extra(folder: Path, model: GPT2LMHeadModel) -> None:
    write_h5(folder, model)
    code = (
        "import sys; sys.modules['h5py'] = None; from cpm_lm import *\n"
        "try: convert(sys.argv[1], sys.argv[1] + 'x')\n"
        "except CheckpointError as error: print(error)"
    )
    command = [sys.executable, "-c", code, str(folder)]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert pip_install("h5") in found


def test_h5_files_not_written_by_keras_are_refused(folder: Path, model: GPT2LMHeadModel) -> None:
    write_h5(folder, model)
    name = f"transformer/tfgp_t2lm_head_model/transformer/{tf_name('h.0.mlp.c_fc.weight')}:0"

    def with_instead(message: str, **how: Any) -> None:
        with h5py.File(folder / "tf_model.h5", "a") as file:
            del file[name]
            file.create_dataset(name, **how)
        refused(folder, message)

    with_instead("not contiguous", data=np.ones((24, 96), "f4"), chunks=(4, 4))
    with_instead("not contiguous", data=np.ones((24, 96), "f4"), compression="gzip")
    with_instead("of type <i4", data=np.ones((24, 96), "<i4"))
    with_instead("of type >f4", data=np.ones((24, 96), ">f4"))
    with_instead("has shape", data=np.ones((96, 24), "f4"))
    outside = folder.parent / "outside"
    outside.mkdir()
    (outside / "w").write_bytes(bytes(4 * 24 * 96))
    with_instead(
        "not contiguous", shape=(24, 96), dtype="f4", external=[(str(outside / "w"), 0, 9216)]
    )
    with h5py.File(folder / "tf_model.h5", "a") as file:
        del file[name]
        file[name] = h5py.ExternalLink(str(outside / "w"), "x")
    refused(folder, r"h\.0\.mlp\.c_fc\.weight is missing")


def test_h5_with_two_models_is_refused(folder: Path, model: GPT2LMHeadModel) -> None:
    write_h5(folder, model)
    with h5py.File(folder / "tf_model.h5", "a") as file:
        file["other/wte/weight:0"] = np.ones((48, 24), "f4")
    refused(folder, r"wte\.weight twice")


@pytest.mark.parametrize("data", [b"", b"\x89HDF\r\n\x1a\n", bytes(99)])
def test_damaged_h5_is_refused(folder: Path, data: bytes) -> None:
    (folder / "tf_model.h5").write_bytes(data)
    refused(folder, r"tf_model\.h5 is (damaged|empty)")


def test_truncated_files_are_refused(folder: Path, model: GPT2LMHeadModel) -> None:
    for write, name in ((write_h5, "tf_model.h5"), (whole_bin, "pytorch_model.bin")):
        path = write(folder, model) / name
        whole = path.read_bytes()
        for end in range(0, len(whole), len(whole) // 7):
            path.write_bytes(whole[:end])
            with pytest.raises(CheckpointError):
                open_source(folder)
        path.unlink()


def whole_bin(folder: Path, model: GPT2LMHeadModel) -> Path:
    return write_bin(folder, model, state_of(model))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
KEYS = st.sampled_from(["n_embd", "n_layer", "n_head", "n_positions", "vocab_size", "n_ctx"])
OTHERS = st.sampled_from(["layer_norm_epsilon", "activation_function", "n_inner", "pruned_heads"])


@settings(max_examples=examples(200))
@given(st.dictionaries(KEYS | OTHERS | st.text(max_size=4), JSON | st.integers(1, 64)))
def test_any_configuration_gives_a_shape_or_our_error(values: dict[str, Any]) -> None:
    with contextlib.suppress(ConfigError):
        assert isinstance(GPTConfig.from_json(values), GPTConfig)
