"""Directories of Hugging Face's GPT-2, written by transformers and PyTorch, with random weights."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from transformers import GPT2Config, GPT2LMHeadModel

# The names of the model in TensorFlow files of different versions of transformers.
TF_SCOPES = ("transformer/tfgp_t2lm_head_model/transformer", "tfgp_t2model/transformer", "")

logging.getLogger("transformers").setLevel(logging.ERROR)


def random_model(*, seed: int = 0, **settings: Any) -> GPT2LMHeadModel:
    """A float32 model whose logits have a standard deviation of about 1."""
    sizes = {"vocab_size": 48, "n_positions": 24, "n_embd": 24, "n_layer": 3, "n_head": 4}
    config = GPT2Config(**(sizes | settings))
    torch.manual_seed(seed)
    model = GPT2LMHeadModel(config).eval()
    with torch.no_grad():
        for name, value in model.named_parameters():
            if value.ndim == 2:
                value.mul_(12)
            elif "bias" in name:
                value.normal_(std=0.2)
            else:
                value.add_(torch.randn_like(value) * 0.2)
    return model


def logits_of(model: GPT2LMHeadModel, ids: list[int]) -> np.ndarray:
    with torch.no_grad():
        return model(torch.tensor([ids])).logits[0].float().numpy()


def state_of(
    model: GPT2LMHeadModel, *, prefix: bool = True, buffers: bool = False
) -> dict[str, torch.Tensor]:
    """The tensors as in a file, with the attention buffers of older versions if wanted."""
    state = {name: value.clone() for name, value in model.transformer.state_dict().items()}
    if buffers:
        P = model.config.n_positions
        for layer in range(model.config.n_layer):
            mask = torch.ones(P, P, dtype=torch.uint8).tril().view(1, 1, P, P)
            state[f"h.{layer}.attn.bias"] = mask
            state[f"h.{layer}.attn.masked_bias"] = torch.tensor(-1e4)
    return {("transformer." if prefix else "") + name: value for name, value in state.items()}


def write_config(directory: Path, model: GPT2LMHeadModel, **changes: Any) -> Path:
    """Write `config.json` with the special ids of published ones."""
    directory.mkdir(parents=True, exist_ok=True)
    values = model.config.to_dict() | {"bos_token_id": 50256, "eos_token_id": 50256}
    values |= {"pad_token_id": 0} | changes
    (directory / "config.json").write_text(json.dumps(values))
    return directory


def write_bin(
    directory: Path, model: GPT2LMHeadModel, state: dict[str, torch.Tensor], shards: int = 1
) -> Path:
    """Write `pytorch_model.bin`, or shards with an index."""
    write_config(directory, model)
    if shards == 1:
        torch.save(state, directory / "pytorch_model.bin")
        return directory
    places: dict[str, str] = {}
    for shard in range(shards):
        name = f"pytorch_model-{shard + 1:05d}-of-{shards:05d}.bin"
        part = dict(list(state.items())[shard::shards])
        torch.save(part, directory / name)
        places |= dict.fromkeys(part, name)
    index = {"metadata": {}, "weight_map": places}
    (directory / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    return directory


def write_h5(directory: Path, model: GPT2LMHeadModel, scope: str = TF_SCOPES[0]) -> Path:
    """Write `tf_model.h5` as TFGPT2LMHeadModel.save_pretrained did: biases are [1, n] there."""
    write_config(directory, model)
    with h5py.File(directory / "tf_model.h5", "w") as file:
        for name, value in model.transformer.state_dict().items():
            path, array = tf_name(name), value.numpy()
            if path.endswith("bias"):
                array = array[None]
            file.create_dataset(f"{scope}/{path}:0", data=array)
        file.attrs["layer_names"] = [b"transformer"]
        file.attrs["backend"] = b"tensorflow"
    return directory


def write_h5_shards(directory: Path, model: GPT2LMHeadModel, shards: int = 3) -> Path:
    """Write `tf_model-*.h5` as TFPreTrainedModel.save_pretrained did with max_shard_size.

    The index has the variables' whole names; the files have them without the first part.
    """
    write_config(directory, model)
    arrays = {}
    for name, value in model.transformer.state_dict().items():
        array = value.numpy()
        path = f"tfgpt2lm_head_model/transformer/{tf_name(name)}:0"
        arrays[path] = array[None] if path.endswith("bias:0") else array
    places = {}
    for shard in range(shards):
        file_name = f"tf_model-{shard + 1:05d}-of-{shards:05d}.h5"
        with h5py.File(directory / file_name, "w") as file:
            for path in list(arrays)[shard::shards]:
                file.create_dataset(path.split("/", 1)[1], data=arrays[path])
                places[path] = file_name
    index = {"metadata": {"total_size": 0}, "weight_map": places}
    (directory / "tf_model.h5.index.json").write_text(json.dumps(index))
    return directory


def tf_name(name: str) -> str:
    """The name of a tensor in transformers' TensorFlow model."""
    if name == "wpe.weight":
        return "wpe/embeddings"
    if "ln_" in name:
        name = name.replace(".weight", ".gamma").replace(".bias", ".beta")
    parts = name.split(".")
    if parts[0] == "h":
        parts[:2] = [f"h_._{parts[1]}"]
    return "/".join(parts)
