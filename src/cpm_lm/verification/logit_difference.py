"""The largest difference between the logits of two models, and its position.

Knows engines and ids; does not know text or files.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cpm_lm.checkpoints.layout import Dims
from cpm_lm.engines.base import Engine
from cpm_lm.engines.likelihood import chain_logits
from cpm_lm.errors import ConfigError
from cpm_lm.languages import tr
from cpm_lm.shapes import Float32, Int64

__all__ = ["Difference", "common_length", "default_tolerance", "largest_difference", "logits_of"]

TOLERANCES = {"f32": 1e-4, "f16": 1e-2, "bf16": 8e-2}
"""The largest difference of logits that rounding the weights to a format can cause, for logits with
a standard deviation of at most SPREAD. Measured on random models: 5e-3 (f16) and 5e-2 (bf16)."""
BASE_SPREAD = 1.5
SEQUENCES, LENGTH = 2, 64


@dataclass(frozen=True, kw_only=True)
class Difference:
    """The largest difference between the logits of two models on the same ids."""

    other: str
    """The path of the other model."""
    largest: float
    tolerance: float
    """The allowed difference."""
    row: int
    """The index of the sequence with the largest difference."""
    position: int
    """The index of the token in that sequence; the logits are those after it."""
    token_id: int
    """The id of the next token."""
    here: float
    """The logit of this model."""
    there: float
    """The logit of the other model."""
    spread: float
    """The standard deviation of this model's logits."""
    same_top: float
    """The share of positions at which both models have the same most likely next token."""

    @property
    def problem(self) -> str | None:
        """A message if the difference exceeds the tolerance; else None."""
        if self.largest <= self.tolerance:
            return None
        return tr(
            "the logits differ from {other} by up to {largest:.3g}, {tolerance:.3g} "
            "is allowed: after token {position} of sequence {row}, next token "
            "{token_id}, {here:.6g} here and {there:.6g} there",
            other=self.other,
            largest=self.largest,
            tolerance=self.tolerance,
            position=self.position,
            row=self.row,
            token_id=self.token_id,
            here=self.here,
            there=self.there,
        )


def common_length(dims: Dims, other: Dims) -> int:
    """Return the sequence length for a comparison: both contexts must be long enough.

    Raises:
        ConfigError: the vocabulary sizes differ.
    """
    if dims.vocab_size != other.vocab_size:
        raise ConfigError(
            "the models cannot be compared: one has {one:,} pieces, the other {two:,}",
            one=dims.vocab_size,
            two=other.vocab_size,
        )
    return min(LENGTH, dims.n_positions, other.n_positions)


def fixed_ids(vocab_size: int, length: int) -> Int64[np.ndarray, "B T"]:
    """Return the sequences that models are compared on: uniform random ids with a fixed seed."""
    generator = np.random.Generator(np.random.Philox(key=1))
    return np.stack([generator.integers(0, vocab_size, LENGTH) for _ in range(SEQUENCES)])[
        :, :length
    ]


def logits_of(engine: Engine, length: int) -> Float32[np.ndarray, "R V"]:
    """Return a model's logits after every token of the fixed sequences.

    Args:
        engine: an engine with the model's weights.
        length: the number of tokens of each sequence.

    Raises:
        EngineError: the logits are not all finite.
    """
    ids = fixed_ids(engine.config.vocab_size, length)
    return np.concatenate([logits for row in ids for logits in chain_logits(engine, row.tolist())])


def default_tolerance(weights: str, other: str) -> float | None:
    """Return the tolerance for two number formats, for a standard deviation of at most SPREAD.

    It is 1e-4 for equal formats, else that of the less precise format. It is None for a format that
    is not in the table.

    >>> default_tolerance("f32", "f16"), default_tolerance("f16", "f16")
    (0.01, 0.0001)
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
        here: this model's logits on the fixed sequences.
        there: the other model's logits.
        other: the path of the other model.
        tolerance: the allowed difference.
        scale_tolerance: whether the tolerance grows in proportion to the standard deviation of the
            logits, above SPREAD.
    """
    difference = np.abs(here - there)
    row, token = np.unravel_index(int(difference.argmax()), difference.shape)
    spread = float(np.std(here, dtype=np.float64))
    length = len(here) // SEQUENCES
    return Difference(
        other=other,
        largest=float(difference[row, token]),
        tolerance=tolerance * max(1.0, spread / BASE_SPREAD) if scale_tolerance else tolerance,
        row=int(row) // length,
        position=int(row) % length,
        token_id=int(token),
        here=float(here[row, token]),
        there=float(there[row, token]),
        spread=spread,
        same_top=float(np.mean(here.argmax(axis=1) == there.argmax(axis=1))),
    )
