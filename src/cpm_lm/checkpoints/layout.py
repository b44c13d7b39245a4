"""The tensors of a GPT: names, shapes and order, as one table with two layouts.

Knows names and shapes; does not know files or arrays. In GPT-2's layout, which a store has, a
matrix is [in, out]. In Megatron's layout it is [out, in], and it is sharded over ranks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from cpm_lm.config import GPTConfig
from cpm_lm.errors import CheckpointError

__all__ = ["REPLICATED", "Dims", "TensorRow", "check_layers", "is_transposed", "rows", "shapes"]

MANY_LAYERS = 100
"""So many are never refused by their number alone, so that what is missing is listed."""
REPLICATED = "replicated"
"""The sharding of a tensor that every rank holds in full."""


@dataclass(frozen=True)
class TensorRow:
    """One row of the table: one tensor."""

    name: str
    """The name in GPT-2's layout."""
    shape: tuple[str, ...]
    """The shape in GPT-2's layout, in the letters V, P (n_positions), D and multiples of D."""
    megatron: str
    """The name in Megatron's layout."""
    sharding: str
    """How Megatron shards it. "replicated": every rank holds all of it. "rows" or "columns": it is
    split along axis 0 or 1 of Megatron's matrix. "qkv": axis 0 of a rank's shard holds that rank's
    part of q, then of k, then of v."""
    transposed: bool = False
    """Whether Megatron, and a quantized store, have this matrix as [out, in]."""

    def axis(self) -> int:
        """Return the axis of GPT-2's tensor along which the shards are concatenated.

        Megatron splits `mlp.c_fc` along axis 0 of [out, in]. GPT-2's matrix is its transpose, so
        its shards are concatenated along axis 1:

        >>> TensorRow("c_fc", ("D", "4D"), "mlp.dense_h_to_4h", "rows", transposed=True).axis()
        1
        """
        if len(self.shape) == 1 or not self.transposed:
            return 0
        return 0 if self.sharding == "columns" else 1


# fmt: off
FIRST = (
    TensorRow("wte.weight", ("V", "D"), "word_embeddings.weight", "rows"),
    TensorRow("wpe.weight", ("P", "D"), "position_embeddings.weight", REPLICATED),
)
EACH_LAYER = (  # GPT-2's names after h.{}., Megatron's after transformer.layers.{}.
    TensorRow("ln_1.weight", ("D",), "input_layernorm.weight", REPLICATED),
    TensorRow("ln_1.bias", ("D",), "input_layernorm.bias", REPLICATED),
    TensorRow("attn.c_attn.weight", ("D", "3D"), "attention.query_key_value.weight", "qkv", True),
    TensorRow("attn.c_attn.bias", ("3D",), "attention.query_key_value.bias", "qkv"),
    TensorRow("attn.c_proj.weight", ("D", "D"), "attention.dense.weight", "columns", True),
    TensorRow("attn.c_proj.bias", ("D",), "attention.dense.bias", REPLICATED),
    TensorRow("ln_2.weight", ("D",), "post_attention_layernorm.weight", REPLICATED),
    TensorRow("ln_2.bias", ("D",), "post_attention_layernorm.bias", REPLICATED),
    TensorRow("mlp.c_fc.weight", ("D", "4D"), "mlp.dense_h_to_4h.weight", "rows", True),
    TensorRow("mlp.c_fc.bias", ("4D",), "mlp.dense_h_to_4h.bias", "rows"),
    TensorRow("mlp.c_proj.weight", ("4D", "D"), "mlp.dense_4h_to_h.weight", "columns", True),
    TensorRow("mlp.c_proj.bias", ("D",), "mlp.dense_4h_to_h.bias", REPLICATED),
)
LAST = (
    TensorRow("ln_f.weight", ("D",), "transformer.final_layernorm.weight", REPLICATED),
    TensorRow("ln_f.bias", ("D",), "transformer.final_layernorm.bias", REPLICATED),
)
# fmt: on
TRANSPOSED = frozenset(row.name for row in (*FIRST, *EACH_LAYER, *LAST) if row.transposed)
LAYER_PREFIX = re.compile(r"h\.\d+\.")


@dataclass(frozen=True)
class Dims:
    """The dimensions that a model's tensors determine: all but the number of heads."""

    vocab_size: int
    n_positions: int
    n_embd: int
    n_layer: int

    @classmethod
    def of(cls, config: GPTConfig) -> Dims:
        """Return the dimensions of a configuration."""
        return cls(config.vocab_size, config.n_positions, config.n_embd, config.n_layer)

    def with_heads(self, heads: int) -> GPTConfig:
        """Return the configuration with this number of heads.

        Raises:
            ConfigError: the number of heads does not divide the width.
        """
        return GPTConfig(
            vocab_size=self.vocab_size,
            n_positions=self.n_positions,
            n_embd=self.n_embd,
            n_layer=self.n_layer,
            n_head=heads,
        )

    def size(self, letter: str) -> int:
        """Return the size that a letter of the table stands for."""
        D = self.n_embd
        return {"V": self.vocab_size, "P": self.n_positions, "D": D, "3D": 3 * D, "4D": 4 * D}[
            letter
        ]


def check_layers(layers: int, tensors: int, where: object) -> None:
    """Check that a number of layers is not far beyond the tensors that there are.

    A small file may claim any number; its names alone would take gigabytes, and so would a list of
    what is missing.

    Raises:
        CheckpointError: there are more layers than tensors.
    """
    if layers > max(MANY_LAYERS, tensors):
        raise CheckpointError(
            "{where} would have {layers:,} layers, but there are only {tensors:,} "
            "tensors; is the configuration of another model, or are files missing?",
            where=where,
            layers=layers,
            tensors=tensors,
        )


def rows(layers: int) -> Iterator[TensorRow]:
    """Yield the rows of a model in network order; EACH_LAYER is repeated for every layer."""
    yield from FIRST
    for layer in range(layers):
        for row in EACH_LAYER:
            yield replace(
                row,
                name=f"h.{layer}.{row.name}",
                megatron=f"transformer.layers.{layer}.{row.megatron}",
            )
    yield from LAST


def shapes(dims: Dims) -> dict[str, tuple[int, ...]]:
    """Return the shape of every tensor by name, in the order in which they are written."""
    return {
        row.name: tuple(dims.size(letter) for letter in row.shape) for row in rows(dims.n_layer)
    }


def is_transposed(name: str) -> bool:
    """Return whether a matrix is [in, out] in GPT-2's layout and [out, in] in Megatron's.

    Quantized stores also use [out, in], because the kernels read a matrix by output rows. The word
    embedding is [V, D] in both layouts:

    >>> is_transposed("h.3.attn.c_attn.weight"), is_transposed("wte.weight")
    (True, False)
    """
    return LAYER_PREFIX.sub("", name, count=1) in TRANSPOSED
