"""The operations of a transformer block in numpy float32, each written as its formula.

Knows arrays and the names of weights; does not know how a network combines the operations.
Source: the original's mpu/transformer.py.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from cpm_lm.shapes import Bool, Float32

__all__ = [
    "ACTIVATIONS",
    "Weights",
    "attention",
    "gelu_erf",
    "gelu_tanh",
    "layer_norm",
    "linear",
    "split_heads",
]

Weights = Mapping[str, Float32[np.ndarray, "..."]]
Activation = Float32[np.ndarray, "..."]


def gelu_tanh(x: Activation) -> Activation:
    """Return GELU in the tanh form: 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))).

    The original code uses this form.
    """
    return 0.5 * x * (1 + np.tanh(0.7978845608 * x * (1 + 0.044715 * x * x)))


def gelu_erf(x: Activation) -> Activation:
    """Return GELU in the erf form: 0.5 x (1 + erf(x / sqrt 2)). Other GPT families use it."""
    erf = np.vectorize(math.erf, otypes=[np.float32])
    return 0.5 * x * (1 + erf(x / np.float32(math.sqrt(2))))


ACTIVATIONS = {"gelu_new": gelu_tanh, "gelu": gelu_erf}


def layer_norm(x: Activation, w: Weights, name: str, epsilon: float) -> Activation:
    """Normalize x to mean 0 and variance 1 along D, then scale and shift."""
    centered = x - x.mean(axis=-1, keepdims=True)
    variance = np.square(centered).mean(axis=-1, keepdims=True)
    return centered / np.sqrt(variance + epsilon) * w[f"{name}.weight"] + w[f"{name}.bias"]


def linear(x: Activation, w: Weights, name: str) -> Activation:
    """Return x W + b; W has the layout [in, out]."""
    return x @ w[f"{name}.weight"] + w[f"{name}.bias"]


def split_heads(qkv: Float32[np.ndarray, "T columns"], heads: int) -> list[Activation]:
    """Split columns in the order [3, N, H] into queries, keys and values, each [T, N, H].

    One token, two heads of size 1: the columns are q0 q1 k0 k1 v0 v1.

    >>> q, k, v = split_heads(np.float32([[0, 1, 10, 11, 20, 21]]), heads=2)
    >>> k.tolist()
    [[[10.0], [11.0]]]
    """
    return [part.reshape(len(qkv), heads, -1) for part in np.split(qkv, 3, axis=-1)]


def attention(
    q: Float32[np.ndarray, "T N H"],
    k: Float32[np.ndarray, "S N H"],
    v: Float32[np.ndarray, "S N H"],
    visible: Bool[np.ndarray, "T S"],
) -> Float32[np.ndarray, "T N H"]:
    """Return softmax(q k^T / sqrt(H)) v for each head, over the visible slots of each row."""
    q, k, v = (x.swapaxes(0, 1) for x in (q, k, v))
    scores = q @ k.swapaxes(1, 2) / np.float32(math.sqrt(q.shape[-1]))
    scores = np.where(visible, scores, np.float32(-np.inf))
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return ((weights / weights.sum(axis=-1, keepdims=True)) @ v).swapaxes(0, 1)
