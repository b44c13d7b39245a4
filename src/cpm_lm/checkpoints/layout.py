"""How Megatron's tensors become GPT-2's: names, cuts and shapes, as one table.

Knows names and arrays; does not know files. Megatron keeps weights as [out, in] and cuts them
over ranks; GPT-2's layout is [in, out], whole. Source of the cuts: the original's change_mp.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cpm_lm.checkpoints.tensors import DTYPES, FLOATS, Array, Tensor
from cpm_lm.config import GPTConfig

__all__ = ["ALL_RANKS", "UNTURNED", "Dims", "Joined", "Row", "join", "rows", "shapes"]

BLOCK_BYTES = 1 << 22
ALL_RANKS = "replicated"
"""How a tensor is cut that is not cut: every rank holds all of it."""


@dataclass(frozen=True)
class Row:
    """One line of the table: a tensor's two names, its shape, and how it is cut."""

    target: str
    shape: tuple[str, ...]
    """The target's shape in the letters V, P, D and multiples of D."""
    source: str
    cut: str
    """How ranks share it: `replicated`, or cut along the source's axis 0 ("rows") or 1
    ("columns"), or "qkv": axis 0 holds that rank's part of q, then of k, then of v."""

    def axis(self) -> int:
        """Return the axis of the target along which the parts are joined."""
        if len(self.shape) == 1 or self.target == "wte.weight":
            return 0
        return 0 if self.cut == "columns" else 1


# fmt: off
FIRST = (
    Row("wte.weight", ("V", "D"), "word_embeddings.weight", "rows"),
    Row("wpe.weight", ("P", "D"), "position_embeddings.weight", ALL_RANKS),
)
EACH_LAYER = (  # the targets after h.{}., the sources after transformer.layers.{}.
    Row("ln_1.weight", ("D",), "input_layernorm.weight", ALL_RANKS),
    Row("ln_1.bias", ("D",), "input_layernorm.bias", ALL_RANKS),
    Row("attn.c_attn.weight", ("D", "3D"), "attention.query_key_value.weight", "qkv"),
    Row("attn.c_attn.bias", ("3D",), "attention.query_key_value.bias", "qkv"),
    Row("attn.c_proj.weight", ("D", "D"), "attention.dense.weight", "columns"),
    Row("attn.c_proj.bias", ("D",), "attention.dense.bias", ALL_RANKS),
    Row("ln_2.weight", ("D",), "post_attention_layernorm.weight", ALL_RANKS),
    Row("ln_2.bias", ("D",), "post_attention_layernorm.bias", ALL_RANKS),
    Row("mlp.c_fc.weight", ("D", "4D"), "mlp.dense_h_to_4h.weight", "rows"),
    Row("mlp.c_fc.bias", ("4D",), "mlp.dense_h_to_4h.bias", "rows"),
    Row("mlp.c_proj.weight", ("4D", "D"), "mlp.dense_4h_to_h.weight", "columns"),
    Row("mlp.c_proj.bias", ("D",), "mlp.dense_4h_to_h.bias", ALL_RANKS),
)
LAST = (
    Row("ln_f.weight", ("D",), "transformer.final_layernorm.weight", ALL_RANKS),
    Row("ln_f.bias", ("D",), "transformer.final_layernorm.bias", ALL_RANKS),
)
# fmt: on
UNTURNED = ("wte.weight", "wpe.weight")
"""The matrices that both layouts keep the same way round."""


@dataclass(frozen=True)
class Dims:
    """What the tensors of a model say about its shape: all but the number of heads."""

    vocab_size: int
    n_positions: int
    n_embd: int
    n_layer: int

    @classmethod
    def of(cls, config: GPTConfig) -> Dims:
        """Return what `config` says about the tensors."""
        return cls(config.vocab_size, config.n_positions, config.n_embd, config.n_layer)

    def with_heads(self, heads: int) -> GPTConfig:
        """Return the model's shape.

        Raises:
            ConfigError: the heads do not divide the width.
        """
        return GPTConfig(
            vocab_size=self.vocab_size,
            n_positions=self.n_positions,
            n_embd=self.n_embd,
            n_layer=self.n_layer,
            n_head=heads,
        )

    def size(self, letter: str) -> int:
        """Return a size by its letter in the table."""
        D = self.n_embd
        return {"V": self.vocab_size, "P": self.n_positions, "D": D, "3D": 3 * D, "4D": 4 * D}[
            letter
        ]


@dataclass(frozen=True)
class Joined:
    """A whole tensor, as parts that lie in files until they are read."""

    parts: tuple[Tensor, ...]
    axis: int = 0

    @property
    def dtype(self) -> str:
        """The format of all parts."""
        return self.parts[0].dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the whole."""
        shape = list(self.parts[0].shape)
        shape[self.axis] = sum(part.shape[self.axis] for part in self.parts)
        return tuple(shape)

    def blocks(self) -> Iterator[Array]:
        """Yield the whole in C order, first row to last, in pieces of about 4 MiB."""
        runs = [self.parts] if self.axis else [(part,) for part in self.parts]
        for run in runs:
            row = sum(part.array[:1].nbytes for part in run)
            step = max(1, BLOCK_BYTES // max(1, row))
            for start in range(0, run[0].shape[0], step):
                pieces = [part.array[start : start + step] for part in run]
                yield np.ascontiguousarray(np.concatenate(pieces, axis=self.axis))

    def whole(self) -> Array:
        """Return all of it: in place if it lies in one piece, else joined in memory."""
        if len(self.parts) == 1:
            return self.parts[0].array
        return np.concatenate([part.array for part in self.parts], axis=self.axis)

    def turned(self) -> Joined:
        """Return the transpose of a matrix, which still lies in its files."""
        parts = tuple(Tensor(part.array.T, part.dtype) for part in self.parts)
        return Joined(parts, 1 - self.axis)


def shapes(dims: Dims) -> dict[str, tuple[int, ...]]:
    """Return the name and shape of every tensor of a model, in the order they are written."""
    return {
        row.target: tuple(dims.size(letter) for letter in row.shape) for row in rows(dims.n_layer)
    }


def join(shards: Sequence[Mapping[str, Tensor]], dims: Dims) -> tuple[dict[str, Joined], list[str]]:
    """Join the tensors of all ranks into a model's.

    Args:
        shards: for each rank its tensors by Megatron's names.
        dims: the shape of the whole model.

    Returns:
        tensors: those that can be joined, by target name.
        problems: a line for everything that is missing, left over, or does not fit.
    """
    tensors, problems = {}, []
    unused = [set(shard) for shard in shards]
    for row in rows(dims.n_layer):
        for names in unused:
            names.discard(row.source)
        parts = [shard.get(row.source) for shard in shards]
        found = [part for part in parts if part is not None]
        lacking = [f"rank {rank} lacks {row.source}" for rank, p in enumerate(parts) if p is None]
        wrong = lacking or _misfits(row, found, dims)
        problems += wrong
        if not wrong:
            tensors[row.target] = _joined(row, found)
    for rank, names in enumerate(unused):
        problems += [f"rank {rank} has {name}, which is no part of this model" for name in names]
    return tensors, problems


def layers_of(names: Iterator[str]) -> int:
    """Return how many layers Megatron's names speak of."""
    found = [re.match(r"transformer\.layers\.(\d{1,4})\.", name) for name in names]
    return 1 + max((int(match[1]) for match in found if match), default=-1)


def rows(layers: int) -> Iterator[Row]:
    """Yield the table in the order of the network, its middle once for each layer."""
    yield from FIRST
    for layer in range(layers):
        for row in EACH_LAYER:
            target, source = f"h.{layer}.{row.target}", f"transformer.layers.{layer}.{row.source}"
            yield Row(target, row.shape, source, row.cut)
    yield from LAST


def _misfits(row: Row, parts: Sequence[Tensor], dims: Dims) -> list[str]:
    whole = [dims.size(letter) for letter in row.shape]
    if row.cut != ALL_RANKS:
        whole[row.axis()] //= len(parts)
    expected = tuple(whole if row.target in UNTURNED else reversed(whole))
    problems = []
    for rank, part in enumerate(parts):
        where = f"rank {rank}: {row.source}"
        if part.shape != expected:
            problems.append(f"{where} has shape {part.shape}, expected {expected}")
        elif part.dtype not in FLOATS or part.dtype != parts[0].dtype:
            wanted = parts[0].dtype if parts[0].dtype in FLOATS else " or ".join(FLOATS)
            problems.append(f"{where} is {part.dtype}, expected {wanted}")
        elif row.cut == ALL_RANKS and rank and not same(parts[0], part):
            problems.append(f"{where} differs from rank 0's, though all ranks hold a copy of it")
    return problems


def _joined(row: Row, parts: Sequence[Tensor]) -> Joined:
    if row.cut == ALL_RANKS:
        parts = parts[:1]
    elif row.cut == "qkv":
        parts = [
            Tensor(third, part.dtype)
            for which in range(3)
            for part in parts
            for third in [np.split(part.array, 3)[which]]
        ]
    if row.target not in UNTURNED:
        parts = [Tensor(part.array.T, part.dtype) for part in parts]
    return Joined(tuple(parts), row.axis())


def same(a: Tensor, b: Tensor) -> bool:
    """Say whether two tensors hold the same bits, reading only as far as they do."""
    if (a.shape, a.dtype) != (b.shape, b.dtype):
        return False
    pairs = zip(Joined((a,)).blocks(), Joined((b,)).blocks(), strict=True)
    bits = f"u{DTYPES[a.dtype].itemsize}"
    return all(np.array_equal(x.view(bits), y.view(bits)) for x, y in pairs)
