"""Read Megatron-LM checkpoints: check the shards of a directory against each other and merge them.

Knows the content of a shard and the checks across shards; does not know directory layouts, which
are in `megatron_files`, or how tensors are split, which is in `megatron_sharding`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cpm_lm.checkpoints.containers.stand_ins import Namespace, class_of
from cpm_lm.checkpoints.containers.torch_file import read_torch_file
from cpm_lm.checkpoints.dtypes import nonfinite_problem
from cpm_lm.checkpoints.layout import Dims, check_layers, rows
from cpm_lm.checkpoints.layouts.megatron_files import find_shards, is_checkpoint_file
from cpm_lm.checkpoints.layouts.megatron_sharding import QkvOrder, join_shards, layer_count
from cpm_lm.checkpoints.layouts.state_dict import (
    Names,
    common_prefix,
    find_state_dict,
    stand_in_notes,
)
from cpm_lm.checkpoints.manifest import training_step
from cpm_lm.checkpoints.tensors import ShardedTensor, Tensor, nonfinite_count
from cpm_lm.checkpoints.text import one_line
from cpm_lm.errors import CheckpointError
from cpm_lm.languages import tr
from cpm_lm.messages import shortened

__all__ = ["Shards", "is_one_shard", "read_shards"]

EMBEDDING = "word_embeddings.weight"
POSITIONS = "position_embeddings.weight"
NAMES: Names = frozenset(row.megatron for row in rows(1))
ENDINGS = (".pt", ".pth", ".bin", ".ckpt")
VERSIONS = (0, 1, 2, 3)
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
    heads: int | None
    """The number of heads by which queries, keys and values were separated, if they were."""
    notes: tuple[str, ...]
    """Anomalies, one line each."""


@dataclass(frozen=True)
class _Shard:
    path: Path
    tensors: Mapping[str, Tensor]
    iteration: int | None
    world_size: int | None
    version: float
    """`checkpoint_version`, which says how queries, keys and values are interleaved."""
    heads: int | None
    notes: tuple[str, ...]


def read_shards(path: Path, heads: int | None = None) -> Shards:
    """Read a checkpoint with any number of ranks.

    Args:
        path: the directory with `latest_checkpointed_iteration.txt`, the directory of one training
            step or of one rank, or a shard; or a file of any name with the whole model.
        heads: the number of attention heads, by which newer shards interleave queries, keys and
            values; default: the number that the shards record.

    Raises:
        CheckpointError: a shard is missing, damaged, duplicated, or from another model; all
            problems of the tensors are listed.
    """
    single = is_one_shard(path)
    layout, directory, files = ("megatron", path.parent, (path,)) if single else find_shards(path)
    shards = [_read_shard(file) for file in files]
    _refuse_duplicates(shards)
    _check_ranks(shards)
    iterations = {shard.iteration for shard in shards}
    problems = []
    if len(iterations) > 1:
        problems.append(
            tr("the shards were written at different iterations: ")
            + shortened((f"{shard.path.name} {shard.iteration}" for shard in shards), ", ")
        )
    dims = _dims(shards)
    order = _qkv_order(shards, heads)
    tensors, misfits = join_shards([shard.tensors for shard in shards], dims, order)
    problems += misfits
    if problems:
        # Without other problems, the values are checked while they are converted.
        problems += _nonfinite_problems(shards)
        raise CheckpointError(
            "{directory} is not one complete model ({n_problems} problems): "
            "{problems}. Are all its files from the same download?",
            directory=directory,
            n_problems=len(problems),
            problems=shortened(problems),
        )
    return Shards(
        layout=layout,
        directory=directory,
        files=files,
        iteration=iterations.pop(),
        dims=dims,
        tensors=tensors,
        heads=order.heads * len(shards) or None,
        notes=tuple(dict.fromkeys(note for shard in shards for note in shard.notes)),
    )


def is_one_shard(path: Path) -> bool:
    """Say whether a file whose name says nothing holds a whole model by Megatron's names."""
    if not path.is_file() or is_checkpoint_file(path.name) or path.suffix.lower() not in ENDINGS:
        return False
    return find_state_dict(read_torch_file(path), NAMES, path) is not None


def _read_shard(path: Path) -> _Shard:
    stand_ins: list[str] = []
    root = read_torch_file(path, stand_ins.append)
    if not isinstance(root, dict):
        raise CheckpointError(
            "{path} holds {root}; expected a dictionary with the model's tensors",
            path=path,
            root=class_of(root),
        )
    found = find_state_dict(root, NAMES, path)
    if found is None:
        raise CheckpointError(_no_weights(root, path))
    prefix = common_prefix(found, NAMES)
    tensors = {name.removeprefix(prefix): tensor for name, tensor in found.items()}
    if len(tensors) < len(found):
        raise CheckpointError(
            "{path} holds tensors twice, with {prefix!a} before and without",
            path=path,
            prefix=prefix,
        )
    if EMBEDDING not in tensors:
        raise CheckpointError(
            "{path} is not a GPT of the original code: expected the tensor "
            "{embedding}, found {listing}",
            path=path,
            embedding=EMBEDDING,
            listing=_listing(tensors),
        )
    return _Shard(
        path=path,
        tensors=tensors,
        iteration=training_step(root.get("iteration")),
        world_size=_optional_int(root, "mp_world_size"),
        version=_version(root, path),
        heads=_heads(root),
        notes=tuple(stand_in_notes(path, stand_ins)),
    )


def _no_weights(root: Mapping[Any, Any], path: Path) -> str:
    """Return what to say of a file without weights by the names of the original's code."""
    weights: dict[Any, Any] = next(
        (root[key] for key in ("module", "model") if isinstance(root.get(key), dict)), {}
    )
    nested = any(isinstance(n, str) and n.startswith("language_model.") for n in weights)
    if "language_model" in weights or nested:
        return tr(
            "{path} is not a GPT of the original code: expected the tensor "
            "{embedding}, found {listing} (the nested names of newer Megatron "
            "versions, which are not supported): convert it to Hugging Face's GPT-2 "
            "with Megatron's own tools first",
            path=path,
            embedding=EMBEDDING,
            listing=_listing(weights),
        )
    if weights:
        return tr(
            "{path} is not a GPT of the original code: expected the tensor "
            "{embedding}, found {listing}",
            path=path,
            embedding=EMBEDDING,
            listing=_listing(weights),
        )
    held = shortened((f"{one_line(k, 60)} ({class_of(v)})" for k, v in root.items()), ", ")
    return tr(
        "{path} holds no weights: expected the key 'module' or 'model', found {held}",
        path=path,
        held=held,
    )


def _version(root: Mapping[Any, Any], path: Path) -> float:
    value = root.get("checkpoint_version", 0)
    if type(value) not in (int, float) or value not in VERSIONS:
        raise CheckpointError(
            "{path} has checkpoint_version {value}; expected one of {versions}: how "
            "it keeps queries, keys and values is not known",
            path=path,
            value=one_line(value, 40),
            versions=", ".join(map(str, VERSIONS)),
        )
    return float(value)


def _heads(root: Mapping[Any, Any]) -> int | None:
    """Return the number of heads as the training program's arguments say it, if they are there."""
    said = root.get("args")
    return said.values.get("num_attention_heads") if isinstance(said, Namespace) else None


def _qkv_order(shards: Sequence[_Shard], heads: int | None) -> QkvOrder:
    """Return how the ranks keep queries, keys and values.

    Source: fix_query_key_value_ordering in Megatron-LM's megatron/checkpointing.py.
    """
    first = shards[0]
    if different := [shard for shard in shards if shard.version != first.version]:
        raise CheckpointError(
            "{first_path} has checkpoint_version {version}, but {different_path} "
            "{other}; they are not of one model",
            first_path=first.path,
            version=first.version,
            different_path=different[0].path,
            other=different[0].version,
        )
    if first.version == 0:
        return QkvOrder("split")
    if first.version == 1:
        return QkvOrder("last")
    if None not in (heads, first.heads) and heads != first.heads:
        raise CheckpointError(
            "heads is {heads}, but {first_path} says that it has {recorded}, and "
            "keeps queries, keys and values by head",
            heads=heads,
            first_path=first.path,
            recorded=first.heads,
        )
    heads = first.heads if heads is None else heads
    if heads is None:
        raise CheckpointError(
            "{first_path} has checkpoint_version {version}: queries, keys and values "
            "are interleaved by head, but the file does not say how many heads there "
            "are; give heads (--heads) to cpm convert",
            first_path=first.path,
            version=first.version,
        )
    width = _matrix_shape(first, EMBEDDING)[1]
    if heads < 1 or heads % len(shards) or width % heads:
        raise CheckpointError(
            "{heads} heads cannot have been split over {n_shards} ranks of width "
            "{width}; give the model's own number of heads (--heads)",
            heads=heads,
            n_shards=len(shards),
            width=width,
        )
    return QkvOrder("heads", heads // len(shards))


def _optional_int(root: Mapping[Any, Any], key: str) -> int | None:
    value = root.get(key)
    return value if type(value) is int else None


def _listing(names: Mapping[Any, Any]) -> str:
    return shortened((one_line(name, 60) if type(name) is str else "?" for name in names), ", ")


def _refuse_duplicates(shards: Sequence[_Shard]) -> None:
    """Refuse the same shard under two names: the merged model would generate nonsense.

    Shards that begin alike are rare; only these are read as a whole, each once.
    """
    for group in _grouped(shards, _beginning):
        for alike in _grouped(group, _digest):
            a, b = alike[:2]
            raise CheckpointError(
                "{a_path} and {b_path} hold the same weights; one of them is a copy of "
                "the other under a wrong name",
                a_path=a.path,
                b_path=b.path,
            )


def _grouped(
    shards: Sequence[_Shard], key: Callable[[_Shard], bytes]
) -> Iterator[Sequence[_Shard]]:
    """Yield the shards that have a key in common."""
    groups: dict[bytes, list[_Shard]] = {}
    for shard in shards if len(shards) > 1 else ():
        groups.setdefault(key(shard), []).append(shard)
    return (group for group in groups.values() if len(group) > 1)


def _beginning(shard: _Shard) -> bytes:
    """Return a digest of the shape, format and first values of some matrices."""
    found = hashlib.sha256()
    for name, tensor in _matrices(shard)[:4]:
        found.update(f"{name} {tensor.dtype} {tensor.shape}".encode(errors="replace"))
        found.update(tensor.array[:1, :64].tobytes())
    return found.digest()


def _digest(shard: _Shard) -> bytes:
    """Return a digest of all values of the matrices."""
    found = hashlib.sha256()
    for _, tensor in _matrices(shard):
        for block in ShardedTensor((Tensor(tensor.array, tensor.dtype),)).blocks():
            found.update(block.reshape(-1).view(np.uint8).data)
    return found.digest()


def _matrices(shard: _Shard) -> list[tuple[str, Tensor]]:
    return sorted((n, tensor) for n, tensor in shard.tensors.items() if len(tensor.shape) == 2)


def _check_ranks(shards: Sequence[_Shard]) -> None:
    """Check the number of shards against `mp_world_size` and against the shapes of each shard.

    Axis 0 of a rank's QKV matrix has 3 D / ranks rows, so ranks = 3 D / rows.
    """
    for shard in shards:
        qkv, width = shard.tensors.get(QKV), _matrix_shape(shard, EMBEDDING)[1]
        by_shape = 3 * width // qkv.shape[0] if qkv and qkv.shape and qkv.shape[0] else None
        for basis, expected in (("mp_world_size", shard.world_size), (tr("its shapes"), by_shape)):
            if expected is not None and expected != len(shards):
                found = shortened((f"{s.path.parent.name}/{s.path.name}" for s in shards), ", ")
                lack = "missing" if expected > len(shards) else tr("too many")
                raise CheckpointError(
                    "shards are {lack}: {shard_path} is one of {expected} according to "
                    "{basis}, found {n_shards}: {found}",
                    lack=lack,
                    shard_path=shard.path,
                    expected=expected,
                    basis=basis,
                    n_shards=len(shards),
                    found=found,
                )


def _dims(shards: Sequence[_Shard]) -> Dims:
    first = shards[0]
    layers = layer_count(_names(shards))
    check_layers(layers, len(first.tensors), first.path)
    if not layers:
        raise CheckpointError(
            "{first_path} has no layers: found {listing}",
            first_path=first.path,
            listing=_listing(first.tensors),
        )
    rows = [_matrix_shape(shard, EMBEDDING)[0] for shard in shards]
    return Dims(
        sum(rows), _matrix_shape(first, POSITIONS)[0], _matrix_shape(first, EMBEDDING)[1], layers
    )


def _nonfinite_problems(shards: Sequence[_Shard]) -> Iterator[str]:
    for rank, shard in enumerate(shards):
        for name, tensor in shard.tensors.items():
            if count := nonfinite_count(ShardedTensor((tensor,))):
                yield nonfinite_problem(tr("rank {rank}: {name}", rank=rank, name=name), count)


def _names(shards: Sequence[_Shard]) -> Iterator[str]:
    return (name for shard in shards for name in shard.tensors)


def _matrix_shape(shard: _Shard, name: str) -> tuple[int, ...]:
    """Return the shape of a matrix that determines the model's dimensions."""
    tensor = shard.tensors.get(name)
    if tensor is None or len(tensor.shape) != 2 or 0 in tensor.shape:
        found = "none" if tensor is None else tr("shape {tensor_shape}", tensor_shape=tensor.shape)
        raise CheckpointError(
            "{shard_path}: expected a matrix {name}, found {found}",
            shard_path=shard.path,
            name=name,
            found=found,
        )
    return tensor.shape
