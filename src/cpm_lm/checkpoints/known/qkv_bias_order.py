"""Detect QKV biases of two ranks that were merged in the wrong order.

Knows biases; does not know files. An early public conversion of CPM-LM concatenated the biases of
two ranks, q0 k0 v0 q1 k1 v1 instead of q0 q1 k0 k1 v0 v1. All shapes are right, but the model
writes worse text.

After training, the biases of queries, keys and values have different magnitudes (the bias of the
keys has no effect on the output, so it gets no gradient), and both halves of the heads have the
same. Split the bias into six equal parts: in the right order parts 0 and 1, 2 and 3, 4 and 5 have
similar magnitudes; in the wrong order parts 0 and 3, 1 and 4, 2 and 5.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from cpm_lm.checkpoints.dtypes import Single

__all__ = ["looks_misjoined"]

MAX_RATIO = 0.5
"""The mean difference of the wrong order's pairs must be below this share of the right order's."""
MIN_DIFFERENCE = 0.2
"""The mean difference of the right order's pairs must exceed this; below it nothing is reported.
Differences are of natural logarithms of root mean squares."""
MIN_LAYER_SHARE = 0.8
"""The share of layers in which the wrong order must fit better."""


def looks_misjoined(biases: Iterable[Single]) -> bool:
    """Return whether the biases look like a plain concatenation of two ranks' biases.

    The answer is False if a bias cannot be split into six parts or a part is zero.

    Q, k and v of magnitude 1, 4 and 2, two values for each rank:

    >>> q, k, v = ([size, size] for size in (1, 4, 2))
    >>> looks_misjoined([np.float32(q + q + k + k + v + v)])
    False
    >>> looks_misjoined([np.float32(q + k + v + q + k + v)])
    True

    Args:
        biases: for each layer its float32[3D].
    """
    right_pairs, wrong_pairs = [], []
    for bias in biases:
        if len(bias) % 6:
            return False
        rms = np.sqrt(np.mean(np.square(bias.reshape(6, -1), dtype=np.float64), axis=1))
        if not rms.all() or not np.isfinite(rms).all():
            return False
        logs = np.log(rms)
        right_pairs.append(np.abs(logs[0::2] - logs[1::2]).mean())
        wrong_pairs.append(np.abs(logs[:3] - logs[3:]).mean())
    if not right_pairs:
        return False
    right, wrong = np.array(right_pairs), np.array(wrong_pairs)
    return bool(
        right.mean() > MIN_DIFFERENCE
        and wrong.mean() < MAX_RATIO * right.mean()
        and np.mean(wrong < right) >= MIN_LAYER_SHARE
    )
