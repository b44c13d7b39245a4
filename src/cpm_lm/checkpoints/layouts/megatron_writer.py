"""Checkpoints as Megatron-LM writes them: a file for each rank, in either of the two layouts.

Knows directories and what goes into each file; `megatron_sharding` knows the cuts,
`torch_writer` the container. What `megatron` reads.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from cpm_lm.checkpoints.config_file import CONFIG
from cpm_lm.checkpoints.containers.torch_writer import NewTensor, write_torch_file
from cpm_lm.checkpoints.dtypes import Array, weights_dtype
from cpm_lm.checkpoints.layout import Dims
from cpm_lm.checkpoints.layouts.megatron_files import MEGATRON_FILE, TRACKER
from cpm_lm.checkpoints.layouts.megatron_sharding import shard
from cpm_lm.checkpoints.layouts.store import encoded
from cpm_lm.checkpoints.manifest import FileRecord, digest
from cpm_lm.checkpoints.tensors import LazyTensor, ShardedTensor
from cpm_lm.config import GPTConfig
from cpm_lm.errors import CheckpointError

__all__ = ["LAYOUTS", "write_megatron"]

LAYOUTS = ("deepspeed", "megatron")
"""`N/mp_rank_XX_model_states.pt`, as CPM-LM was published, and
`iter_N/mp_rank_XX/model_optim_rng.pt`, as Megatron-LM writes by itself."""


def write_megatron(
    directory: Path,
    config: GPTConfig,
    tensors: Mapping[str, LazyTensor],
    weights: str,
    *,
    ranks: int,
    layout: str,
    iteration: int | None,
    on_bytes: Callable[[int], None] = lambda _: None,
) -> tuple[FileRecord, ...]:
    """Write a model's ranks, the file that names the training step, and `config.json`.

    The shards hold the weights and what the original's loader asks for, no optimizer and no
    random states, so that `torch.load(weights_only=True)` reads them.

    Args:
        directory: an existing, empty directory.
        config: the model's shape; it goes into `config.json`, as the shards do not say it all.
        tensors: all tensors by a store's names, in any float format.
        weights: the number format to write.
        ranks: how many files; `check_ranks` has found that they divide the model.
        layout: one of LAYOUTS.
        iteration: the training step; 0 is written where it is not known.
        on_bytes: called with the number of bytes of weights as they are written.

    Returns:
        A record of every file.

    Raises:
        CheckpointError: a number is not finite or too large for the format; every tensor that
            holds such a number is named. The files are incomplete then.
        OSError: the disk is full or not writable.
    """
    step = iteration or 0
    names = [_name(layout, step, rank) for rank in range(ranks)]
    for rank, name in enumerate(names):
        problems: list[str] = []
        own = {
            source: NewTensor(
                weights_dtype(weights), shape, _encoding(source, cut, weights, problems)
            )
            for source, shape, cut in shard(tensors, Dims.of(config), rank, ranks)
        }
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        root = _root(layout, step, ranks, own)
        write_torch_file(directory / name, root, lambda data: on_bytes(data.nbytes))
        if problems:
            raise CheckpointError(
                f"the weights cannot be stored as {weights}: {'; '.join(problems)} (rank {rank})"
            )
    (directory / CONFIG).write_text(json.dumps(config.to_json(), indent=2) + "\n", "utf-8")
    (directory / TRACKER).write_text(f"{step}\n", "utf-8")
    return tuple(digest(directory / name, name) for name in (CONFIG, TRACKER, *names))


def _name(layout: str, step: int, rank: int) -> str:
    if layout == "deepspeed":
        return f"{step}/mp_rank_{rank:02d}_model_states.pt"
    return f"iter_{step:07d}/mp_rank_{rank:02d}/{MEGATRON_FILE}"


def _root(layout: str, step: int, ranks: int, own: Mapping[str, NewTensor]) -> dict[str, Any]:
    """Return what a shard holds. Source: the shards that the original's change_mp.py writes."""
    if layout == "megatron":
        return {"iteration": step, "model": own}
    return {
        "iteration": step,
        "global_steps": step,
        "global_samples": 0,
        "skipped_steps": 0,
        "dp_world_size": 1,
        "mp_world_size": ranks,
        "optimizer": None,
        "lr_scheduler": None,
        "csr_tensor_module_names": None,
        "module": own,
    }


def _encoding(
    name: str, cut: Callable[[], ShardedTensor], weights: str, problems: list[str]
) -> Callable[[], Iterator[Array]]:
    return lambda: encoded(name, cut(), weights_dtype(weights), problems)
