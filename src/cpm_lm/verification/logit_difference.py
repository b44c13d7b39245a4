"""How far apart the logits of two models are, and where.

Knows engines and ids; does not know text or files.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int64

from cpm_lm.checkpoints.layout import Dims
from cpm_lm.engines.base import Engine
from cpm_lm.engines.likelihood import chain_logits
from cpm_lm.errors import ConfigError

__all__ = ["Difference", "common_length", "default_tolerance", "largest_difference", "logits_of"]

TOLERANCES = {"f32": 1e-4, "f16": 1e-2, "bf16": 8e-2}
"""Largest difference of logits that a weight's rounding to a format explains, by that format, for
logits of a standard deviation up to SPREAD. Measured on random models: 5e-3 and 5e-2."""
SPREAD = 1.5
ROWS, LENGTH = 2, 64


@dataclass(frozen=True, kw_only=True)
class Difference:
    """The largest difference between the logits of two models on the same ids."""

    other: str
    """The path of the other model."""
    largest: float
    tolerance: float
    """What `largest` may be."""
    row: int
    """In which of the texts, from 0 on, it was found;"""
    position: int
    """after which token of it, from 0 on;"""
    token_id: int
    """at which next token."""
    here: float
    """This model's logit there."""
    there: float
    """The other's."""
    spread: float
    """The standard deviation of the logits."""
    same_top: float
    """The share of positions at which both find the same next token likeliest."""

    @property
    def problem(self) -> str | None:
        """What is wrong, if the models differ by more than they may."""
        if self.largest <= self.tolerance:
            return None
        return (
            f"the logits differ from {self.other} by up to {self.largest:.3g}, "
            f"{self.tolerance:.3g} was allowed: after token {self.position} of text {self.row}, "
            f"next token {self.token_id}, {self.here:.6g} here and {self.there:.6g} there"
        )


def common_length(dims: Dims, other: Dims) -> int:
    """Return how many tokens of a text both models can take.

    Raises:
        ConfigError: their vocabularies are not equally large.
    """
    if dims.vocab_size != other.vocab_size:
        raise ConfigError(
            f"the models cannot be compared: one has {dims.vocab_size:,} pieces, "
            f"the other {other.vocab_size:,}"
        )
    return min(LENGTH, dims.n_positions, other.n_positions)


def fixed_ids(vocab_size: int, length: int) -> Int64[np.ndarray, "B T"]:
    """Return the texts that models are compared on: ids drawn evenly, always the same."""
    draw = np.random.Generator(np.random.Philox(key=1))
    return np.stack([draw.integers(0, vocab_size, LENGTH) for _ in range(ROWS)])[:, :length]


def logits_of(engine: Engine, length: int) -> Float32[np.ndarray, "R V"]:
    """Return a model's logits after every token of the fixed texts.

    Args:
        engine: with the model's weights.
        length: the tokens of each text.

    Raises:
        EngineError: they are not all finite.
    """
    ids = fixed_ids(engine.config.vocab_size, length)
    return np.concatenate([logits for row in ids for logits in chain_logits(engine, row.tolist())])


def default_tolerance(weights: str, other: str) -> float | None:
    """Return what rounding explains, for logits of a spread up to SPREAD.

    1e-4 where both models have the same number format; else the coarser format's. None where a
    format is not in the table.
    """
    if not {weights, other} <= TOLERANCES.keys():
        return None
    return TOLERANCES["f32"] if weights == other else max(TOLERANCES[weights], TOLERANCES[other])


def largest_difference(
    here: Float32[np.ndarray, "R V"],
    there: Float32[np.ndarray, "R V"],
    *,
    other: str,
    tolerance: float,
    scale_tolerance: bool,
) -> Difference:
    """Find the largest difference.

    Args:
        here: one model's logits on the fixed texts.
        there: the other's.
        other: what to call it.
        tolerance: what the difference may be.
        scale_tolerance: whether it grows with the logits once their spread is above SPREAD.
    """
    apart = np.abs(here - there)
    row, token = np.unravel_index(int(apart.argmax()), apart.shape)
    spread = float(np.std(here, dtype=np.float64))
    length = len(here) // ROWS
    return Difference(
        other=other,
        largest=float(apart[row, token]),
        tolerance=tolerance * max(1.0, spread / SPREAD) if scale_tolerance else tolerance,
        row=int(row) // length,
        position=int(row) % length,
        token_id=int(token),
        here=float(here[row, token]),
        there=float(there[row, token]),
        spread=spread,
        same_top=float(np.mean(here.argmax(axis=1) == there.argmax(axis=1))),
    )
