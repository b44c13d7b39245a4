"""How a whole model is cut for Megatron's ranks: the table of `mapping` read from right to left.

Knows names and arrays; does not know files.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from cpm_lm.checkpoints.layout import ALL_RANKS, UNTURNED, Dims, Joined, Row, rows
from cpm_lm.checkpoints.tensors import Tensor
from cpm_lm.config import GPTConfig
from cpm_lm.errors import ConfigError

__all__ = ["check_ranks", "split"]


def check_ranks(config: GPTConfig, ranks: int) -> None:
    """Check that a model can be shared out over so many ranks.

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


def split(
    tensors: Mapping[str, Joined], dims: Dims, rank: int, ranks: int
) -> Iterator[tuple[str, tuple[int, ...], Callable[[], Joined]]]:
    """Yield one rank's tensors by Megatron's names, in the order of the network.

    Args:
        tensors: a whole model's, by target name.
        dims: its shape.
        rank: which part, from 0 on.
        ranks: the number of parts, which `check_ranks` has found fit.

    Yields:
        The name, the shape, and what gives the part. A tensor that lies in one piece of a file
        is cut in place; only one that lies in several is joined in memory, when it is asked for.
    """
    for row in rows(dims.n_layer):
        shape = [dims.size(letter) for letter in row.shape]
        if row.cut != ALL_RANKS:
            shape[row.axis()] //= ranks
        turned = shape if row.target in UNTURNED else shape[::-1]
        yield row.source, tuple(turned), _cutting(row, tensors[row.target], rank, ranks)


def _cutting(row: Row, tensor: Joined, rank: int, ranks: int) -> Callable[[], Joined]:
    def cut() -> Joined:
        arrays = [tensor.whole()]
        if row.cut == "qkv":
            arrays = np.split(arrays[0], 3, axis=row.axis())
        if row.cut != ALL_RANKS:
            arrays = [np.split(array, ranks, axis=row.axis())[rank] for array in arrays]
        if row.target not in UNTURNED:
            arrays = [array.T for array in arrays]
        return Joined(tuple(Tensor(array, tensor.dtype) for array in arrays))

    return cut
