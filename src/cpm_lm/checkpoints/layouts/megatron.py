"""Checkpoints of Megatron-LM: the shards of a directory, checked against each other and joined.

Knows both layouts on disk (DeepSpeed's and Megatron's own); `megatron_sharding` knows how shards
are joined.
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
    """All shards of one checkpoint, joined."""

    layout: str
    """deepspeed or megatron."""
    directory: Path
    """The directory of one training step."""
    files: tuple[Path, ...]
    """One file for each rank, in order."""
    iteration: int | None
    """The training step, if the shards say."""
    dims: Dims
    """The model's shape, as far as the tensors say."""
    tensors: Mapping[str, ShardedTensor]
    """Every tensor, by the names of a store."""


@dataclass(frozen=True)
class _Shard:
    path: Path
    tensors: Mapping[str, Tensor]
    iteration: int | None
    world: int | None


def read_shards(path: Path) -> Shards:
    """Read a checkpoint of any number of ranks.

    Args:
        path: the directory with `latest_checkpointed_iteration.txt`, that of one training step,
            that of a single rank, or a shard itself.

    Raises:
        CheckpointError: a shard is missing, damaged, there twice, or from another model; all
            problems of the tensors are named.
    """
    layout, directory, files = find_shards(path)
    shards = [_read(file) for file in files]
    _refuse_twins(shards)
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
        problems += _nonfinite(shards)  # sound checkpoints are checked as they are written
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


def _read(path: Path) -> _Shard:
    root = read_torch_file(path)
    if not isinstance(root, dict):
        raise CheckpointError(f"{path} holds no checkpoint: {type(root).__name__} at its top")
    weights = root.get("module", root.get("model"))
    if not isinstance(weights, dict):
        raise CheckpointError(
            f"{path} holds no weights: expected them under 'module' or 'model', "
            f"found {_listing(root)}"
        )
    if EMBEDDING not in weights:
        nested = (
            " (the nested names of newer Megatron versions, which are not supported)"
            if "language_model" in weights
            else ""
        )
        raise CheckpointError(
            f"{path} is no GPT of the original's code: expected {EMBEDDING} among its tensors, "
            f"found {_listing(weights)}{nested}"
        )
    odd = {
        key: value
        for key, value in weights.items()
        if not (isinstance(value, StridedTensor) and isinstance(key, str) and key.isprintable())
    }
    if odd:
        raise CheckpointError(f"{path}: among the weights these are no tensors: {_listing(odd)}")
    tensors = {name: value.tensor for name, value in weights.items()}
    return _Shard(path, tensors, _number(root, "iteration"), _number(root, "mp_world_size"))


def _number(root: Mapping[Any, Any], key: str) -> int | None:
    value = root.get(key)
    return value if type(value) is int else None


def _listing(names: Mapping[Any, Any]) -> str:
    shown = [one_line(name, 60) if type(name) is str else "?" for name in list(names)[:6]]
    return ", ".join(shown) + (f" and {len(names) - 6} more" if len(names) > 6 else "")


def _refuse_twins(shards: Sequence[_Shard]) -> None:
    """Refuse one shard under two names: a model joined from it would talk nonsense."""
    for late, b in enumerate(shards):
        for a in shards[:late]:
            cut = [name for name, tensor in a.tensors.items() if len(tensor.shape) == 2]
            if all(
                name in b.tensors and equal_bits(a.tensors[name], b.tensors[name]) for name in cut
            ):
                raise CheckpointError(
                    f"{a.path} and {b.path} hold the same weights; "
                    "one of them was copied or downloaded under the other's name"
                )


def _check_ranks(shards: Sequence[_Shard]) -> None:
    """Check the number of shards against what each of them says, in word and in shape."""
    for shard in shards:
        qkv, width = shard.tensors.get(QKV), _shape(shard, EMBEDDING)[1]
        by_shape = 3 * width // qkv.shape[0] if qkv and qkv.shape and qkv.shape[0] else None
        for says, expected in (("mp_world_size", shard.world), ("its shapes", by_shape)):
            if expected is not None and expected != len(shards):
                found = ", ".join(f"{s.path.parent.name}/{s.path.name}" for s in shards)
                lack = "missing" if expected > len(shards) else "too many"
                raise CheckpointError(
                    f"shards are {lack}: {shard.path} is one of {expected} by {says}, "
                    f"found {len(shards)}: {found}"
                )


def _dims(shards: Sequence[_Shard]) -> Dims:
    first = shards[0]
    layers = layer_count(_names(shards))
    if not layers:
        raise CheckpointError(f"{first.path} has no layers: found {_listing(first.tensors)}")
    rows = [_shape(shard, EMBEDDING)[0] for shard in shards]
    return Dims(sum(rows), _shape(first, POSITIONS)[0], _shape(first, EMBEDDING)[1], layers)


def _nonfinite(shards: Sequence[_Shard]) -> Iterator[str]:
    for rank, shard in enumerate(shards):
        for name, tensor in shard.tensors.items():
            if count := nonfinite_count(ShardedTensor((tensor,))):
                yield nonfinite_problem(f"rank {rank}: {name}", count)


def _names(shards: Sequence[_Shard]) -> Iterator[str]:
    return (name for shard in shards for name in shard.tensors)


def _shape(shard: _Shard, name: str) -> tuple[int, ...]:
    """Return the shape of a matrix that tells the model's own shape."""
    tensor = shard.tensors.get(name)
    if tensor is None or len(tensor.shape) != 2 or 0 in tensor.shape:
        found = "none" if tensor is None else f"shape {tensor.shape}"
        raise CheckpointError(f"{shard.path}: expected a matrix {name}, found {found}")
    return tensor.shape
