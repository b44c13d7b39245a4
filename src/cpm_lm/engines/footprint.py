"""The memory that a model takes in each engine, on a CPU.

Knows sizes and which tensors each engine holds; does not import the engines.
"""

from __future__ import annotations

from dataclasses import dataclass

from cpm_lm.checkpoints.layout import Dims
from cpm_lm.checkpoints.quantization.formats import FORMATS, stored_bytes
from cpm_lm.languages import tr

__all__ = ["EngineMemory", "engine_memory"]

FLOAT32 = 4


@dataclass(frozen=True, kw_only=True)
class EngineMemory:
    """The memory of a model in one engine, in bytes."""

    engine: str
    weights: int
    """All tensors, in the format in which this engine holds them."""
    context: int
    """The KV cache, in float32, of one text that fills the context."""
    total: int
    """`weights` plus `context`."""
    mapped: bool
    """Whether the weights are memory-mapped, so that processes share them."""
    counts: str
    """What `weights` consists of, in words."""


def engine_memory(dims: Dims, weights: str) -> tuple[EngineMemory, ...]:
    """Return the memory of each engine for a store with this number format, f32 to q4, on a CPU.

    All engines compute in float32 there; the workspace of a step is not counted.
    """
    config = dims.with_heads(1)  # the number of heads changes no size
    stored = stored_bytes(dims, weights)
    float32 = config.parameter_count * FLOAT32
    dequantized = float32 if weights in FORMATS else stored
    transposed_embedding = dims.vocab_size * dims.n_embd * FLOAT32
    engines = (
        ("native", stored, True, tr("all tensors")),
        ("reference", float32, weights == "f32", tr("all tensors in float32")),
        (
            "tensorflow",
            dequantized + transposed_embedding,
            False,
            tr("all tensors, the embedding twice"),
        ),
        ("jax", dequantized, False, tr("all tensors")),
    )
    context = dims.n_positions * config.node_bytes
    return tuple(
        EngineMemory(
            engine=engine,
            weights=weights,
            context=context,
            total=weights + context,
            mapped=mapped,
            counts=counts,
        )
        for engine, weights, mapped, counts in engines
    )
