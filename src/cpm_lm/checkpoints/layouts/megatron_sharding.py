"""Merge the shards of Megatron's ranks into a model, and split a model into shards.

Knows arrays and the table of tensors; does not know files. Source: the original's change_mp.py.

Fused QKV weights need care. Each rank holds q, k and v of its own heads, so two ranks hold
q0 k0 v0 | q1 k1 v1. The merged tensor is q0 q1 k0 k1 v0 v1: split each rank in three, then
concatenate all q, all k and all v. A plain concatenation has the right shape and wrong heads.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cpm_lm.checkpoints.dtypes import FLOATS, Array
from cpm_lm.checkpoints.layout import REPLICATED, Dims, TensorRow, rows
from cpm_lm.checkpoints.tensors import LazyTensor, ShardedTensor, Tensor, equal_bits
from cpm_lm.checkpoints.text import one_line
from cpm_lm.config import GPTConfig
from cpm_lm.errors import ConfigError
from cpm_lm.languages import tr

__all__ = ["QkvOrder", "check_ranks", "join_shards", "layer_count", "shard"]


@dataclass(frozen=True)
class QkvOrder:
    """How a rank keeps the rows of its queries, keys and values.

    Of two heads of size 2, with q0a for the first row of the queries of head 0:
    split (checkpoint_version 0, the original's): q0a q0b q1a q1b k0a k0b k1a k1b v0a v0b v1a v1b;
    last (1): q0a k0a v0a q0b k0b v0b q1a k1a v1a q1b k1b v1b;
    heads (2 and later): q0a q0b k0a k0b v0a v0b q1a q1b k1a k1b v1a v1b.
    """

    kind: str
    heads: int = 0
    """The rank's number of heads, of which only "heads" needs to know."""

    def third(self, array: Array, which: int) -> list[Array]:
        """Return the queries (0), keys (1) or values (2) in order of the heads, as views."""
        if self.kind == "split":
            return [np.split(array, 3)[which]]
        if self.kind == "last":
            return [array[which::3]]
        size = len(array) // (3 * self.heads)
        starts = (size * (3 * head + which) for head in range(self.heads))
        return [array[start : start + size] for start in starts]


SPLIT = QkvOrder("split")


def join_shards(
    shards: Sequence[Mapping[str, Tensor]], dims: Dims, order: QkvOrder = SPLIT
) -> tuple[dict[str, ShardedTensor], list[str]]:
    """Merge the tensors of all ranks into the tensors of a model.

    Args:
        shards: for each rank its tensors by Megatron's names.
        dims: the dimensions of the merged model.
        order: how each rank keeps its queries, keys and values.

    Returns:
        tensors: those that can be merged, by GPT-2's names.
        problems: one line for every tensor that is missing, unknown or does not match.
    """
    tensors, problems = {}, []
    unused = [set(shard) for shard in shards]
    for row in rows(dims.n_layer):
        for names in unused:
            names.discard(row.megatron)
        parts = [shard.get(row.megatron) for shard in shards]
        found = [part for part in parts if part is not None]
        missing = [
            tr("rank {rank} lacks {megatron}", rank=rank, megatron=row.megatron)
            for rank, p in enumerate(parts)
            if p is None
        ]
        wrong = missing or _part_problems(row, found, dims)
        problems += wrong
        if not wrong:
            tensors[row.name] = _join(row, found, order)
    for rank, names in enumerate(unused):
        problems += [
            tr(
                "rank {rank} has {name}, which is not part of this model",
                rank=rank,
                name=one_line(name, 80),
            )
            for name in names
        ]
    return tensors, problems


def layer_count(names: Iterable[str]) -> int:
    """Return the number of layers in Megatron's tensor names."""
    found = [re.match(r"transformer\.layers\.(\d{1,4})\.", name) for name in names]
    return 1 + max((int(match[1]) for match in found if match), default=-1)


def check_ranks(config: GPTConfig, ranks: int) -> None:
    """Check that a model can be sharded over this number of ranks.

    Raises:
        ConfigError: it does not divide the number of heads and the vocabulary size; the message
            lists the possible numbers.
    """
    common = math.gcd(config.n_head, config.vocab_size)
    if ranks < 1 or common % ranks:
        counts = [str(n) for n in range(1, common + 1) if common % n == 0]
        raise ConfigError(
            "{n_head} heads and {vocab_size:,} pieces cannot be split evenly over "
            "{ranks} ranks; possible numbers are {counts}",
            n_head=config.n_head,
            vocab_size=config.vocab_size,
            ranks=ranks,
            counts=", ".join(counts),
        )


def shard(
    tensors: Mapping[str, LazyTensor], dims: Dims, rank: int, ranks: int
) -> Iterator[tuple[str, tuple[int, ...], Callable[[], ShardedTensor]]]:
    """Yield one rank's tensors by Megatron's names, in network order.

    Args:
        tensors: the tensors of a model, by GPT-2's names.
        dims: the dimensions of the model.
        rank: the rank, counted from 0.
        ranks: the number of ranks, which `check_ranks` has accepted.

    Yields:
        The name, the shape, and a function that returns the shard. A tensor that is contiguous in
        a file is split as views; a tensor with several parts is merged in memory first, when the
        function is called.
    """
    for row in rows(dims.n_layer):
        shape = [dims.size(letter) for letter in row.shape]
        if row.sharding != REPLICATED:
            shape[row.axis()] //= ranks
        megatron_shape = shape[::-1] if row.transposed else shape
        yield (
            row.megatron,
            tuple(megatron_shape),
            _shard_reader(row, tensors[row.name], rank, ranks),
        )


def _part_problems(row: TensorRow, parts: Sequence[Tensor], dims: Dims) -> list[str]:
    whole = [dims.size(letter) for letter in row.shape]
    if row.sharding != REPLICATED:
        whole[row.axis()] //= len(parts)
    expected = tuple(reversed(whole) if row.transposed else whole)
    problems = []
    for rank, part in enumerate(parts):
        where = tr("rank {rank}: {megatron}", rank=rank, megatron=row.megatron)
        if part.shape != expected:
            problems.append(
                tr(
                    "{where} has shape {part_shape}, expected {expected}",
                    where=where,
                    part_shape=part.shape,
                    expected=expected,
                )
            )
        elif part.dtype not in FLOATS or part.dtype != parts[0].dtype:
            wanted = parts[0].dtype if parts[0].dtype in FLOATS else " or ".join(FLOATS)
            problems.append(
                tr(
                    "{where} is {part_dtype}, expected {wanted}",
                    where=where,
                    part_dtype=part.dtype,
                    wanted=wanted,
                )
            )
        elif row.sharding == REPLICATED and rank and not equal_bits(parts[0], part):
            problems.append(
                tr("{where} differs from rank 0's copy; all ranks must hold the same", where=where)
            )
    return problems


def _join(row: TensorRow, parts: Sequence[Tensor], order: QkvOrder) -> ShardedTensor:
    """Merge the shards of one tensor as views.

    Two ranks with one row each of q, k and v. The result is transposed to [in, out]:

    >>> row = TensorRow("c_attn", ("D", "3D"), "query_key_value", "qkv", transposed=True)
    >>> ranks = [np.float32([[0], [10], [20]]), np.float32([[1], [11], [21]])]  # q, k, v
    >>> _join(row, [Tensor(rank, "F32") for rank in ranks], SPLIT).read().tolist()
    [[0.0, 1.0, 10.0, 11.0, 20.0, 21.0]]
    """
    if row.sharding == REPLICATED:
        parts = parts[:1]
    elif row.sharding == "qkv":
        parts = [
            Tensor(third, part.dtype, part.check)
            for which in range(3)
            for part in parts
            for third in order.third(part.array, which)
        ]
    if row.transposed:
        parts = [Tensor(part.array.T, part.dtype, part.check) for part in parts]
    return ShardedTensor(tuple(parts), row.axis())


def _shard_reader(
    row: TensorRow, tensor: LazyTensor, rank: int, ranks: int
) -> Callable[[], ShardedTensor]:
    """Return a function that reads one rank's shard of a tensor: the inverse of `_join`.

    >>> row = TensorRow("c_attn", ("D", "3D"), "query_key_value", "qkv", transposed=True)
    >>> merged = ShardedTensor((Tensor(np.float32([[0, 1, 10, 11, 20, 21]]), "F32"),))
    >>> _shard_reader(row, merged, rank=1, ranks=2)().read().tolist()
    [[1.0], [11.0], [21.0]]
    """

    def read_shard() -> ShardedTensor:
        arrays = [tensor.read()]
        if row.sharding == "qkv":
            arrays = np.split(arrays[0], 3, axis=row.axis())
        if row.sharding != REPLICATED:
            arrays = [np.split(array, ranks, axis=row.axis())[rank] for array in arrays]
        if row.transposed:
            arrays = [array.T for array in arrays]
        return ShardedTensor(tuple(Tensor(array, tensor.dtype) for array in arrays))

    return read_shard
