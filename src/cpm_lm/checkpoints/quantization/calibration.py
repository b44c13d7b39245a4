"""Calibration: the activations that each matrix is multiplied by, for a fixed sequence of ids.

Knows a model's tensors and the forward pass of a block; does not know how matrices are quantized:
`gptq` does. The ids are random with a fixed seed, so that no vocabulary is needed.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from cpm_lm.checkpoints.dtypes import Single, to_float32
from cpm_lm.checkpoints.tensors import LazyTensor
from cpm_lm.config import GPTConfig
from cpm_lm.numpy_ops import ACTIVATIONS, Weights, attention, layer_norm, linear, split_heads
from cpm_lm.shapes import Float32, Int64

__all__ = ["CalibrationStep", "calibration_steps"]

MAX_TOKENS = 512
"""The maximum number of ids, all in one context."""
SEED = 1

Rows = Float32[np.ndarray, "T D"]

# Weights that are not finite give activations that are not finite. No warning is needed: the writer
# reports them. Do not decorate a generator with this: it would also apply in the caller.
ignore_float_errors = np.errstate(all="ignore")


@dataclass
class CalibrationStep:
    """The next matrix to quantize, with its inputs."""

    name: str
    inputs: Float32[np.ndarray, "T in"]
    """The matrix's inputs; all earlier matrices are already quantized."""
    rounded: Float32[np.ndarray, "in out"] | None = None
    """The dequantized matrix. The caller must set it before it takes the next step: the forward
    pass continues with it."""


def calibration_steps(
    config: GPTConfig, tensors: Mapping[str, LazyTensor]
) -> Iterator[CalibrationStep]:
    """Yield the matrices of all blocks in network order; one or two are in memory at a time.

    Args:
        config: the model's configuration.
        tensors: all tensors by name. Values that are not finite give inputs that are not finite.
    """
    ids = np.random.Generator(np.random.Philox(key=SEED)).integers(
        0, config.vocab_size, min(MAX_TOKENS, config.n_positions)
    )
    x = _rows(tensors["wte.weight"], ids) + _rows(tensors["wpe.weight"], np.arange(len(ids)))
    for layer in range(config.n_layer):
        x = yield from _block(x, config, tensors, f"h.{layer}")


def _block(
    x: Rows, config: GPTConfig, tensors: Mapping[str, LazyTensor], h: str
) -> Generator[CalibrationStep, None, Rows]:
    """Run one block; yield its four matrices and return its output."""
    normed = _layer_norm(x, config, tensors, f"{h}.ln_1")
    qkv = yield from _linear(normed, tensors, f"{h}.attn.c_attn")
    x = x + (yield from _linear(_self_attention(qkv, config), tensors, f"{h}.attn.c_proj"))
    normed = _layer_norm(x, config, tensors, f"{h}.ln_2")
    inner = _activation((yield from _linear(normed, tensors, f"{h}.mlp.c_fc")), config)
    return x + (yield from _linear(inner, tensors, f"{h}.mlp.c_proj"))


def _linear(
    x: Float32[np.ndarray, "T in"], tensors: Mapping[str, LazyTensor], name: str
) -> Generator[CalibrationStep, None, Float32[np.ndarray, "T out"]]:
    step = CalibrationStep(f"{name}.weight", x)
    yield step
    assert step.rounded is not None
    w = {f"{name}.weight": step.rounded, f"{name}.bias": _read_float32(tensors[f"{name}.bias"])}
    return _linear_output(x, w, name)


@ignore_float_errors
def _linear_output(
    x: Float32[np.ndarray, "T in"], w: Weights, name: str
) -> Float32[np.ndarray, "T out"]:
    return linear(x, w, name)


@ignore_float_errors
def _layer_norm(x: Rows, config: GPTConfig, tensors: Mapping[str, LazyTensor], name: str) -> Rows:
    w = {part: _read_float32(tensors[part]) for part in (f"{name}.weight", f"{name}.bias")}
    return layer_norm(x, w, name, config.layer_norm_epsilon)


@ignore_float_errors
def _self_attention(qkv: Float32[np.ndarray, "T columns"], config: GPTConfig) -> Rows:
    visible = np.tri(len(qkv), dtype=bool)
    q, k, v = split_heads(qkv, config.n_head)
    return attention(q, k, v, visible).reshape(len(qkv), -1)


@ignore_float_errors
def _activation(x: Float32[np.ndarray, "T in"], config: GPTConfig) -> Float32[np.ndarray, "T in"]:
    return ACTIVATIONS[config.activation_function](x)


def _read_float32(tensor: LazyTensor) -> Single:
    return to_float32(tensor.read(), tensor.dtype)


def _rows(tensor: LazyTensor, indices: Int64[np.ndarray, " T"]) -> Rows:
    """Return some rows of a matrix; the matrix is read once, in blocks."""
    found = np.empty((len(indices), tensor.shape[1]), np.float32)
    start = 0
    for block in tensor.blocks():
        here = (indices >= start) & (indices < start + len(block))
        found[here] = to_float32(block[indices[here] - start], tensor.dtype)
        start += len(block)
    return found
