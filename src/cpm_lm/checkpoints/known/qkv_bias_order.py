"""Whether the biases of queries, keys and values were joined in the wrong order.

Knows biases. An early public conversion of CPM-LM put the two ranks' biases one behind the other,
q0 k0 v0 q1 k1 v1 instead of q0 q1 k0 k1 v0 v1. Every shape is right then, and the text is worse.

Training gives queries, keys and values biases of different sizes (a key's bias changes nothing
that the network computes, so it learns nothing), and both halves of the heads the same. So of six
equal parts the neighbours should be of one size; in the wrong order those three apart are.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from cpm_lm.checkpoints.dtypes import Single

__all__ = ["looks_misjoined"]

ALIKE = 0.5
"""The parts that belong together must differ by less than this part of what others differ by."""
MARKED = 0.2
"""Sizes must differ by more than this, as natural logarithm, to say anything."""
MANY = 0.8
"""The share of layers in which the wrong order must look the better one."""


def looks_misjoined(biases: Iterable[Single]) -> bool:
    """Say whether these look as if two ranks' biases were put one behind the other.

    An odd number of heads, or biases that are zero, say nothing.

    Args:
        biases: for each layer, its float32[3D].
    """
    right, wrong = [], []
    for bias in biases:
        if len(bias) % 6:
            return False
        sizes = np.sqrt(np.mean(np.square(bias.reshape(6, -1), dtype=np.float64), axis=1))
        if not sizes.all() or not np.isfinite(sizes).all():
            return False
        logs = np.log(sizes)
        right.append(np.abs(logs[0::2] - logs[1::2]).mean())
        wrong.append(np.abs(logs[:3] - logs[3:]).mean())
    if not right:
        return False
    apart, together = np.array(right), np.array(wrong)
    return bool(
        apart.mean() > MARKED
        and together.mean() < ALIKE * apart.mean()
        and np.mean(together < apart) >= MANY
    )
