"""Checkpoints in the original's two layouts, written by PyTorch, with random weights."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

Weights = dict[str, torch.Tensor]
Edit = Callable[[int, dict[str, Any]], None]


def whole_model(
    *,
    vocab: int = 32,
    positions: int = 8,
    width: int = 16,
    layers: int = 2,
    seed: int = 0,
    scale: float = 1.0,
) -> Weights:
    """A model with Megatron's names and [out, in] matrices, not sharded."""
    draw = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=draw) * scale

    D = width
    weights = {
        "word_embeddings.weight": normal(vocab, D),
        "position_embeddings.weight": normal(positions, D),
    }
    for layer in range(layers):
        at = f"transformer.layers.{layer}"
        for norm in ("input_layernorm", "post_attention_layernorm"):
            weights |= {f"{at}.{norm}.weight": normal(D), f"{at}.{norm}.bias": normal(D)}
        for name, out, into in (
            ("attention.query_key_value", 3 * D, D),
            ("attention.dense", D, D),
            ("mlp.dense_h_to_4h", 4 * D, D),
            ("mlp.dense_4h_to_h", D, 4 * D),
        ):
            weights[f"{at}.{name}.weight"] = normal(out, into)
            weights[f"{at}.{name}.bias"] = normal(out)
    for part in ("weight", "bias"):
        weights[f"transformer.final_layernorm.{part}"] = normal(D)
    return weights


def shard(name: str, tensor: torch.Tensor, rank: int, ranks: int) -> torch.Tensor:
    """The part of one rank, as the original's model-parallel layers shard a tensor."""
    if "query_key_value" in name:
        parts = [third.chunk(ranks)[rank] for third in tensor.chunk(3)]
        return torch.cat(parts)
    if "word_embeddings" in name or "dense_h_to_4h" in name:
        return tensor.chunk(ranks)[rank].clone()
    if name.endswith(("attention.dense.weight", "dense_4h_to_h.weight")):
        return tensor.chunk(ranks, dim=1)[rank].clone()
    return tensor.clone()


def write_shards(
    folder: Path,
    *,
    ranks: int = 2,
    dtype: torch.dtype = torch.float32,
    layout: str = "deepspeed",
    zipped: bool = True,
    edit: Edit | None = None,
    **sizes: Any,
) -> Path:
    """Write a checkpoint to `folder` and return it; `edit` may change what each rank saves."""
    weights = whole_model(**sizes)
    for rank in range(ranks):
        own = {name: shard(name, value, rank, ranks).to(dtype) for name, value in weights.items()}
        root = {"iteration": 500, "np_rng_state": np.random.get_state(), "lr": None}  # noqa: NPY002
        root["random_rng_state"] = random.getstate()
        if layout == "deepspeed":
            root |= {"module": own, "mp_world_size": ranks, "csr_tensor_module_names": {1, 2}}
            path = folder / "500" / f"mp_rank_{rank:02d}_model_states.pt"
        else:
            root["model"] = own
            path = folder / "iter_0000500" / f"mp_rank_{rank:02d}" / "model_optim_rng.pt"
        if edit:
            edit(rank, root)
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(root, path, _use_new_zipfile_serialization=zipped)
    (folder / "latest_checkpointed_iteration.txt").write_text("500\n")
    return folder
