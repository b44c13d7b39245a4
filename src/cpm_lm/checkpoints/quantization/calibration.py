"""What the matrices of a model are multiplied by, for a fixed row of ids.

Knows a model's tensors and how its blocks are made of them; how matrices are rounded `gptq`
knows. The ids are random, from a fixed seed: they need no vocabulary.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int64

from cpm_lm.checkpoints.dtypes import Single, to_float32
from cpm_lm.checkpoints.tensors import LazyTensor
from cpm_lm.config import GPTConfig
from cpm_lm.numpy_ops import ACTIVATIONS, Weights, attention, layer_norm, linear, split_heads

__all__ = ["CalibrationStep", "calibration_steps"]

TOKENS = 512
"""The most ids, all in one context."""
SEED = 1

Rows = Float32[np.ndarray, "T D"]

# What is computed from numbers that are not finite is not either, and no warning is due: the
# writer names them. No generator may be decorated so: its caller would be silenced with it.
quietly = np.errstate(all="ignore")


@dataclass
class CalibrationStep:
    """A matrix whose turn it is."""

    name: str
    inputs: Float32[np.ndarray, "T in"]
    """What it is multiplied by, after all matrices before it were rounded."""
    rounded: Float32[np.ndarray, "in out"] | None = None
    """To be set before the next step is asked for: the steps go on through it."""


def calibration_steps(
    config: GPTConfig, tensors: Mapping[str, LazyTensor]
) -> Iterator[CalibrationStep]:
    """Yield the matrices of all blocks in the order of the network; one block's are in memory.

    Args:
        config: the model's shape.
        tensors: all tensors by name. Where their numbers are not finite, the inputs are not.
    """
    ids = np.random.Generator(np.random.Philox(key=SEED)).integers(
        0, config.vocab_size, min(TOKENS, config.n_positions)
    )
    x = _rows(tensors["wte.weight"], ids) + _rows(tensors["wpe.weight"], np.arange(len(ids)))
    for layer in range(config.n_layer):
        x = yield from _block(x, config, tensors, f"h.{layer}")


def _block(
    x: Rows, config: GPTConfig, tensors: Mapping[str, LazyTensor], h: str
) -> Generator[CalibrationStep, None, Rows]:
    """Go through one block; its output is returned."""
    normed = _normed(x, config, tensors, f"{h}.ln_1")
    qkv = yield from _linear(normed, tensors, f"{h}.attn.c_attn")
    x = x + (yield from _linear(_mixed(qkv, config), tensors, f"{h}.attn.c_proj"))
    normed = _normed(x, config, tensors, f"{h}.ln_2")
    inner = _activated((yield from _linear(normed, tensors, f"{h}.mlp.c_fc")), config)
    return x + (yield from _linear(inner, tensors, f"{h}.mlp.c_proj"))


def _linear(
    x: Float32[np.ndarray, "T in"], tensors: Mapping[str, LazyTensor], name: str
) -> Generator[CalibrationStep, None, Float32[np.ndarray, "T out"]]:
    step = CalibrationStep(f"{name}.weight", x)
    yield step
    assert step.rounded is not None
    w = {f"{name}.weight": step.rounded, f"{name}.bias": _whole(tensors[f"{name}.bias"])}
    return _product(x, w, name)


@quietly
def _product(x: Float32[np.ndarray, "T in"], w: Weights, name: str) -> Float32[np.ndarray, "T out"]:
    return linear(x, w, name)


@quietly
def _normed(x: Rows, config: GPTConfig, tensors: Mapping[str, LazyTensor], name: str) -> Rows:
    w = {part: _whole(tensors[part]) for part in (f"{name}.weight", f"{name}.bias")}
    return layer_norm(x, w, name, config.layer_norm_epsilon)


@quietly
def _mixed(qkv: Float32[np.ndarray, "T columns"], config: GPTConfig) -> Rows:
    visible = np.tri(len(qkv), dtype=bool)
    q, k, v = split_heads(qkv, config.n_head)
    return attention(q, k, v, visible).reshape(len(qkv), -1)


@quietly
def _activated(x: Float32[np.ndarray, "T in"], config: GPTConfig) -> Float32[np.ndarray, "T in"]:
    return ACTIVATIONS[config.activation_function](x)


def _whole(tensor: LazyTensor) -> Single:
    return to_float32(tensor.read(), tensor.dtype)


def _rows(tensor: LazyTensor, wanted: Int64[np.ndarray, " T"]) -> Rows:
    """Return some rows of a matrix that is read once, block by block."""
    found = np.empty((len(wanted), tensor.shape[1]), np.float32)
    start = 0
    for block in tensor.blocks():
        here = (wanted >= start) & (wanted < start + len(block))
        found[here] = to_float32(block[wanted[here] - start], tensor.dtype)
        start += len(block)
    return found
