"""The optimizer: Muon for the matrices, AdamW for embeddings and vectors; imports Keras.

Source: Keller Jordan and others, "Muon: an optimizer for hidden layers in neural networks" (2024);
the scale of its step is that of arXiv 2502.16982, so that both parts have one learning rate.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

__all__ = ["Muon", "matrices"]


class Muon(keras.optimizers.Muon):
    """Keras's Muon, extended to attention weights of three or four axes, reshaped to matrices.

    Keras applies Muon only to variables of two axes.
    """

    def _should_use_adamw(self, variable: Any) -> bool:
        return len(variable.shape) < 2 or "embeddings" in variable.path

    def _muon_update_step(self, gradient: Any, variable: Any, lr: Any, m: Any) -> None:
        self.assign_add(m, gradient + m * (self.momentum - 1))
        direction = matrices(gradient + self.momentum * m)
        step = self.zeropower_via_newtonschulz5(direction, self.ns_steps)
        scale = self.rms_rate * max(step.shape[1:]) ** 0.5
        if len(variable.shape) == 4:  # [3, D, N H] back to [D, 3, N, H]
            step = ops.transpose(step, (1, 0, 2))
        self.assign_sub(variable, lr * scale * ops.reshape(step, variable.shape))


def matrices(weights: Any) -> Any:
    """Return a variable as matrices [M, in, out]: queries, keys and values are three matrices."""
    shape = weights.shape
    if len(shape) == 4:  # [D, 3, N, H]
        return ops.transpose(ops.reshape(weights, (*shape[:2], -1)), (1, 0, 2))
    return ops.reshape(weights, (1, -1, shape[-1]))  # [in, out] or [N, H, D]
