"""Read Megatron-LM checkpoints: check the shards of a directory against each other and merge them.

Knows the content of a shard and the checks across shards; does not know directory layouts, which
are in `megatron_files`, or how tensors are split, which is in `megatron_sharding`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cpm_lm.checkpoints.containers.torch_file import read_torch_file
from cpm_lm.checkpoints.containers.unpickler import StridedTensor
from cpm_lm.checkpoints.dtypes import nonfinite_problem
from cpm_lm.checkpoints.layout import Dims
from cpm_lm.checkpoints.layouts.megatron_files import find_shards
from cpm_lm.checkpoints.layouts.megatron_sharding import join_shards, layer_count
from cpm_lm.checkpoints.tensors import ShardedTensor, Tensor, equal_bits, nonfinite_count
from cpm_lm.checkpoints.text import one_line
from cpm_lm.errors import CheckpointError

__all__ = ["Shards", "read_shards"]

EMBEDDING = "word_embeddings.weight"
POSITIONS = "position_embeddings.weight"
QKV = "transformer.layers.0.attention.query_key_value.weight"


@dataclass(frozen=True, kw_only=True)
class Shards:
    """The merged shards of one checkpoint."""

    layout: str
    """deepspeed or megatron."""
    directory: Path
    """The directory of one training step."""
    files: tuple[Path, ...]
    """One file for each rank, in order of rank."""
    iteration: int | None
    """The training step, if recorded."""
    dims: Dims
    """The dimensions that the tensors determine."""
    tensors: Mapping[str, ShardedTensor]
    """Every tensor, by its name in a store."""


@dataclass(frozen=True)
class _Shard:
    path: Path
    tensors: Mapping[str, Tensor]
    iteration: int | None
    world_size: int | None


def read_shards(path: Path) -> Shards:
    """Read a checkpoint with any number of ranks.

    Args:
        path: the directory with `latest_checkpointed_iteration.txt`, the directory of one training
            step or of one rank, or a shard.

    Raises:
        CheckpointError: a shard is missing, damaged, duplicated, or from another model; all
            problems of the tensors are listed.
    """
    layout, directory, files = find_shards(path)
    shards = [_read_shard(file) for file in files]
    _refuse_duplicates(shards)
    _check_ranks(shards)
    iterations = {shard.iteration for shard in shards}
    problems = []
    if len(iterations) > 1:
        problems.append(
            "the shards were written at different iterations: "
            + ", ".join(f"{shard.path.name} {shard.iteration}" for shard in shards)
        )
    dims = _dims(shards)
    tensors, misfits = join_shards([shard.tensors for shard in shards], dims)
    problems += misfits
    if problems:
        # Without other problems, the values are checked while they are converted.
        problems += _nonfinite_problems(shards)
        raise CheckpointError(
            f"{directory} is not one complete model ({len(problems)} problems): "
            f"{'; '.join(problems)}. Are all its files from the same download?"
        )
    return Shards(
        layout=layout,
        directory=directory,
        files=files,
        iteration=iterations.pop(),
        dims=dims,
        tensors=tensors,
    )


def _read_shard(path: Path) -> _Shard:
    root = read_torch_file(path)
    if not isinstance(root, dict):
        raise CheckpointError(f"{path} holds {type(root).__name__}; expected a dictionary")
    weights = root.get("module", root.get("model"))
    if not isinstance(weights, dict):
        raise CheckpointError(
            f"{path} holds no weights: expected the key 'module' or 'model', found {_listing(root)}"
        )
    if EMBEDDING not in weights:
        nested = (
            " (the nested names of newer Megatron versions, which are not supported)"
            if "language_model" in weights
            else ""
        )
        raise CheckpointError(
            f"{path} is not a GPT of the original code: expected the tensor {EMBEDDING}, "
            f"found {_listing(weights)}{nested}"
        )
    not_tensors = {
        key: value
        for key, value in weights.items()
        if not (isinstance(value, StridedTensor) and isinstance(key, str) and key.isprintable())
    }
    if not_tensors:
        raise CheckpointError(f"{path}: these weights are not tensors: {_listing(not_tensors)}")
    tensors = {name: value.tensor for name, value in weights.items()}
    return _Shard(
        path, tensors, _optional_int(root, "iteration"), _optional_int(root, "mp_world_size")
    )


def _optional_int(root: Mapping[Any, Any], key: str) -> int | None:
    value = root.get(key)
    return value if type(value) is int else None


def _listing(names: Mapping[Any, Any]) -> str:
    shown = [one_line(name, 60) if type(name) is str else "?" for name in list(names)[:6]]
    return ", ".join(shown) + (f" and {len(names) - 6} more" if len(names) > 6 else "")


def _refuse_duplicates(shards: Sequence[_Shard]) -> None:
    """Refuse the same shard under two names: the merged model would generate nonsense."""
    for index, b in enumerate(shards):
        for a in shards[:index]:
            matrices = [name for name, tensor in a.tensors.items() if len(tensor.shape) == 2]
            if all(
                name in b.tensors and equal_bits(a.tensors[name], b.tensors[name])
                for name in matrices
            ):
                raise CheckpointError(
                    f"{a.path} and {b.path} hold the same weights; "
                    "one of them is a copy of the other under a wrong name"
                )


def _check_ranks(shards: Sequence[_Shard]) -> None:
    """Check the number of shards against `mp_world_size` and against the shapes of each shard.

    Axis 0 of a rank's QKV matrix has 3 D / ranks rows, so ranks = 3 D / rows.
    """
    for shard in shards:
        qkv, width = shard.tensors.get(QKV), _matrix_shape(shard, EMBEDDING)[1]
        by_shape = 3 * width // qkv.shape[0] if qkv and qkv.shape and qkv.shape[0] else None
        for basis, expected in (("mp_world_size", shard.world_size), ("its shapes", by_shape)):
            if expected is not None and expected != len(shards):
                found = ", ".join(f"{s.path.parent.name}/{s.path.name}" for s in shards)
                lack = "missing" if expected > len(shards) else "too many"
                raise CheckpointError(
                    f"shards are {lack}: {shard.path} is one of {expected} according to {basis}, "
                    f"found {len(shards)}: {found}"
                )


def _dims(shards: Sequence[_Shard]) -> Dims:
    first = shards[0]
    layers = layer_count(_names(shards))
    if not layers:
        raise CheckpointError(f"{first.path} has no layers: found {_listing(first.tensors)}")
    rows = [_matrix_shape(shard, EMBEDDING)[0] for shard in shards]
    return Dims(
        sum(rows), _matrix_shape(first, POSITIONS)[0], _matrix_shape(first, EMBEDDING)[1], layers
    )


def _nonfinite_problems(shards: Sequence[_Shard]) -> Iterator[str]:
    for rank, shard in enumerate(shards):
        for name, tensor in shard.tensors.items():
            if count := nonfinite_count(ShardedTensor((tensor,))):
                yield nonfinite_problem(f"rank {rank}: {name}", count)


def _names(shards: Sequence[_Shard]) -> Iterator[str]:
    return (name for shard in shards for name in shard.tensors)


def _matrix_shape(shard: _Shard, name: str) -> tuple[int, ...]:
    """Return the shape of a matrix that determines the model's dimensions."""
    tensor = shard.tensors.get(name)
    if tensor is None or len(tensor.shape) != 2 or 0 in tensor.shape:
        found = "none" if tensor is None else f"shape {tensor.shape}"
        raise CheckpointError(f"{shard.path}: expected a matrix {name}, found {found}")
    return tensor.shape
