"""How Megatron shards a model over its ranks: the shards joined, and a model cut again.

Knows arrays and the table of tensors; does not know files. Source of the cuts: the original's
change_mp.py.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np

from cpm_lm.checkpoints.dtypes import FLOATS
from cpm_lm.checkpoints.layout import REPLICATED, Dims, TensorRow, rows
from cpm_lm.checkpoints.tensors import LazyTensor, ShardedTensor, Tensor, equal_bits
from cpm_lm.config import GPTConfig
from cpm_lm.errors import ConfigError

__all__ = ["check_ranks", "join_shards", "layer_count", "shard"]


def join_shards(
    shards: Sequence[Mapping[str, Tensor]], dims: Dims
) -> tuple[dict[str, ShardedTensor], list[str]]:
    """Join the tensors of all ranks into a model's.

    Args:
        shards: for each rank its tensors by Megatron's names.
        dims: the shape of the whole model.

    Returns:
        tensors: those that can be joined, by GPT-2's names.
        problems: a line for everything that is missing, left over, or does not fit.
    """
    tensors, problems = {}, []
    unused = [set(shard) for shard in shards]
    for row in rows(dims.n_layer):
        for names in unused:
            names.discard(row.megatron)
        parts = [shard.get(row.megatron) for shard in shards]
        found = [part for part in parts if part is not None]
        lacking = [f"rank {rank} lacks {row.megatron}" for rank, p in enumerate(parts) if p is None]
        wrong = lacking or _misfits(row, found, dims)
        problems += wrong
        if not wrong:
            tensors[row.name] = _joined(row, found)
    for rank, names in enumerate(unused):
        problems += [f"rank {rank} has {name}, which is no part of this model" for name in names]
    return tensors, problems


def layer_count(names: Iterable[str]) -> int:
    """Return how many layers Megatron's names speak of."""
    found = [re.match(r"transformer\.layers\.(\d{1,4})\.", name) for name in names]
    return 1 + max((int(match[1]) for match in found if match), default=-1)


def check_ranks(config: GPTConfig, ranks: int) -> None:
    """Check that a model can be sharded over so many ranks.

    Raises:
        ConfigError: the heads or the pieces cannot be divided evenly; says what they can be
            divided by.
    """
    common = math.gcd(config.n_head, config.vocab_size)
    if ranks < 1 or common % ranks:
        counts = [str(n) for n in range(1, common + 1) if common % n == 0]
        raise ConfigError(
            f"{config.n_head} heads and {config.vocab_size:,} pieces cannot be shared out evenly "
            f"over {ranks} ranks; they can over {', '.join(counts)}"
        )


def shard(
    tensors: Mapping[str, LazyTensor], dims: Dims, rank: int, ranks: int
) -> Iterator[tuple[str, tuple[int, ...], Callable[[], ShardedTensor]]]:
    """Yield one rank's tensors by Megatron's names, in the order of the network.

    Args:
        tensors: a whole model's, by GPT-2's names.
        dims: its shape.
        rank: which part, from 0 on.
        ranks: the number of parts, which `check_ranks` has found fit.

    Yields:
        The name, the shape, and what gives the part. A tensor that lies in one piece of a file
        is cut in place; only one that lies in several is joined in memory, when it is asked for.
    """
    for row in rows(dims.n_layer):
        shape = [dims.size(letter) for letter in row.shape]
        if row.sharding != REPLICATED:
            shape[row.axis()] //= ranks
        theirs = shape[::-1] if row.transposed else shape
        yield row.megatron, tuple(theirs), _cutting(row, tensors[row.name], rank, ranks)


def _misfits(row: TensorRow, parts: Sequence[Tensor], dims: Dims) -> list[str]:
    whole = [dims.size(letter) for letter in row.shape]
    if row.sharding != REPLICATED:
        whole[row.axis()] //= len(parts)
    expected = tuple(reversed(whole) if row.transposed else whole)
    problems = []
    for rank, part in enumerate(parts):
        where = f"rank {rank}: {row.megatron}"
        if part.shape != expected:
            problems.append(f"{where} has shape {part.shape}, expected {expected}")
        elif part.dtype not in FLOATS or part.dtype != parts[0].dtype:
            wanted = parts[0].dtype if parts[0].dtype in FLOATS else " or ".join(FLOATS)
            problems.append(f"{where} is {part.dtype}, expected {wanted}")
        elif row.sharding == REPLICATED and rank and not equal_bits(parts[0], part):
            problems.append(f"{where} differs from rank 0's, though all ranks hold a copy of it")
    return problems


def _joined(row: TensorRow, parts: Sequence[Tensor]) -> ShardedTensor:
    if row.sharding == REPLICATED:
        parts = parts[:1]
    elif row.sharding == "qkv":
        parts = [
            Tensor(third, part.dtype)
            for which in range(3)
            for part in parts
            for third in [np.split(part.array, 3)[which]]
        ]
    if row.transposed:
        parts = [Tensor(part.array.T, part.dtype) for part in parts]
    return ShardedTensor(tuple(parts), row.axis())


def _cutting(
    row: TensorRow, tensor: LazyTensor, rank: int, ranks: int
) -> Callable[[], ShardedTensor]:
    def cut() -> ShardedTensor:
        arrays = [tensor.read()]
        if row.sharding == "qkv":
            arrays = np.split(arrays[0], 3, axis=row.axis())
        if row.sharding != REPLICATED:
            arrays = [np.split(array, ranks, axis=row.axis())[rank] for array in arrays]
        if row.transposed:
            arrays = [array.T for array in arrays]
        return ShardedTensor(tuple(Tensor(array, tensor.dtype) for array in arrays))

    return cut
