"""How much memory a model takes in each engine, on a CPU.

Knows sizes, and what each engine keeps; the engines themselves are further up.
"""

from __future__ import annotations

from dataclasses import dataclass

from cpm_lm.checkpoints.layout import Dims
from cpm_lm.checkpoints.quantization.formats import FORMATS, stored_bytes

__all__ = ["EngineMemory", "engine_memory"]

FLOAT32 = 4


@dataclass(frozen=True, kw_only=True)
class EngineMemory:
    """What running a model takes in one engine, in bytes."""

    engine: str
    weights: int
    """All tensors, as this engine keeps them."""
    context: int
    """Keys and values, in float32, of one text of the model's full length."""
    total: int
    mapped: bool
    """Whether the weights stay in the file, where processes share them."""
    counts: str
    """What `weights` consists of, in words."""


def engine_memory(dims: Dims, weights: str) -> tuple[EngineMemory, ...]:
    """Return what each engine takes for a store with this number format, f32 to q4, on a CPU.

    All engines compute in float32 there; scratch memory of a step is not counted.
    """
    whole = dims.with_heads(1)
    stored = stored_bytes(dims, weights)
    wide = whole.parameter_count * FLOAT32
    kept = wide if weights in FORMATS else stored
    turned = dims.vocab_size * dims.n_embd * FLOAT32
    keeps = (
        ("native", stored, True, "all tensors"),
        ("reference", wide, weights == "f32", "all tensors in float32"),
        ("tensorflow", kept + turned, False, "all tensors, the embedding twice"),
        ("jax", kept, False, "all tensors"),
    )
    context = dims.n_positions * whole.node_bytes
    return tuple(
        EngineMemory(
            engine=engine,
            weights=weights,
            context=context,
            total=weights + context,
            mapped=mapped,
            counts=counts,
        )
        for engine, weights, mapped, counts in keeps
    )
