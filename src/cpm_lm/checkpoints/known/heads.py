"""The number of attention heads of the published CPM models, which their shards do not record.

Knows dimensions; does not know files.
"""

from __future__ import annotations

from cpm_lm.checkpoints.layout import Dims
from cpm_lm.errors import CheckpointError, ConfigError

__all__ = ["CPM_LARGE", "KNOWN_HEADS", "LARGE_WIDTH", "known_heads"]

KNOWN_HEADS = {2560: 32, 1024: 16, 768: 12}
"""The number of attention heads by width D."""
LARGE_WIDTH = 2560
CPM_LARGE = 2_597_073_920
"""The number of parameters of CPM-LM, the model of width LARGE_WIDTH."""


def known_heads(dims: Dims) -> int:
    """Return the number of heads of the published model of this width.

    Raises:
        ConfigError: no published model has this width.
        CheckpointError: the width is CPM-LM's, but the number of parameters is not.
    """
    if dims.n_embd not in KNOWN_HEADS:
        raise ConfigError(
            "the files do not record how many attention heads a model of width "
            "{n_embd} has; give heads (--heads) or a configuration (--config)",
            n_embd=dims.n_embd,
        )
    parameters = dims.with_heads(1).parameter_count
    if dims.n_embd == LARGE_WIDTH and parameters != CPM_LARGE:
        raise CheckpointError(
            "the width is CPM-LM's, but there are {parameters:,} parameters, "
            "expected {cpm_large:,}: part of the model is missing. If it is another "
            "model, give its number of heads (--heads)",
            parameters=parameters,
            cpm_large=CPM_LARGE,
        )
    return KNOWN_HEADS[dims.n_embd]
