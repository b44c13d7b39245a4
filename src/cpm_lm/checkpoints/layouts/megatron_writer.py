"""Write checkpoints as Megatron-LM does: one file for each rank, in either of the two layouts.

Knows directories and the content of each file; does not know how tensors are split
(`megatron_sharding`) or the container (`torch_writer`). `megatron` reads these checkpoints.
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
from cpm_lm.checkpoints.layouts.megatron import read_shards
from cpm_lm.checkpoints.layouts.megatron_files import MEGATRON_FILE, TRACKER
from cpm_lm.checkpoints.layouts.megatron_sharding import shard
from cpm_lm.checkpoints.layouts.store import cast_blocks
from cpm_lm.checkpoints.manifest import FileRecord, digest
from cpm_lm.checkpoints.tensors import LazyTensor, ShardedTensor
from cpm_lm.config import GPTConfig
from cpm_lm.errors import CheckpointError
from cpm_lm.messages import shortened

__all__ = ["write_megatron"]


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
    """Write the shards of a model, the file that names the training step, and `config.json`.

    The shards hold the weights and the keys that the original's loader needs, but no optimizer and
    no random states, so that `torch.load(weights_only=True)` can read them.

    Args:
        directory: an existing, empty directory.
        config: the model's configuration; it is written to `config.json`, because the shards do not
            record the number of heads.
        tensors: all tensors by their names in a store, in any float format.
        weights: the number format to write.
        ranks: the number of shards, which `check_ranks` has accepted.
        layout: deepspeed, `N/mp_rank_XX_model_states.pt`, as CPM-LM was published; or megatron,
            `iter_N/mp_rank_XX/model_optim_rng.pt`, as Megatron-LM writes without DeepSpeed.
        iteration: the training step; None is written as 0.
        on_bytes: called with the number of bytes of weights as they are written.

    Returns:
        A record of every file.

    Raises:
        CheckpointError: a value is not finite or too large for the format; every such tensor is
            named, and the files are incomplete then. Or the files could not be read again.
        OSError: the disk is full or not writable.
    """
    step = iteration or 0
    names = [_file_name(layout, step, rank) for rank in range(ranks)]
    for rank, name in enumerate(names):
        problems: list[str] = []
        new_tensors = {
            source: NewTensor(
                weights_dtype(weights), shape, _block_reader(source, read_shard, weights, problems)
            )
            for source, shape, read_shard in shard(tensors, Dims.of(config), rank, ranks)
        }
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        root = _shard_content(layout, step, ranks, new_tensors)
        write_torch_file(directory / name, root, lambda data: on_bytes(data.nbytes))
        if problems:
            raise CheckpointError(
                "the weights cannot be stored as {weights}: {problems} (rank {rank})",
                weights=weights,
                problems=shortened(problems),
                rank=rank,
            )
    (directory / CONFIG).write_text(json.dumps(config.to_json(), indent=2) + "\n", "utf-8")
    (directory / TRACKER).write_text(f"{step}\n", "utf-8")
    _check_readable(directory)
    return tuple(digest(directory / name, name) for name in (CONFIG, TRACKER, *names))


def _check_readable(directory: Path) -> None:
    """Check that `megatron` reads what was written; it refuses ranks that hold the same weights."""
    try:
        read_shards(directory)
    except CheckpointError as error:
        found = str(error).replace(f"{directory.resolve()}/", "")
        raise CheckpointError(
            "the new shards could not be read again: {found}; choose another number "
            "of ranks (--ranks)",
            found=found,
        ) from None


def _file_name(layout: str, step: int, rank: int) -> str:
    if layout == "deepspeed":
        return f"{step}/mp_rank_{rank:02d}_model_states.pt"
    return f"iter_{step:07d}/mp_rank_{rank:02d}/{MEGATRON_FILE}"


def _shard_content(
    layout: str, step: int, ranks: int, new_tensors: Mapping[str, NewTensor]
) -> dict[str, Any]:
    """Return the content of a shard. Source: the shards written by the original's change_mp.py."""
    if layout == "megatron":
        return {"iteration": step, "model": new_tensors}
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
        "module": new_tensors,
    }


def _block_reader(
    name: str, read_shard: Callable[[], ShardedTensor], weights: str, problems: list[str]
) -> Callable[[], Iterator[Array]]:
    return lambda: cast_blocks(name, read_shard(), weights_dtype(weights), problems)
