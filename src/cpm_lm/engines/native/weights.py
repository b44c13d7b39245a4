"""A store's weights in the form that the kernels take, and the workspace of a step.

Knows how weights are stored: matrices are memory-mapped and used in place, in 32 to 4 bits; biases
and norms are converted to float32 in memory. Does not know the order of the network's operations.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

import cpm_lm._native as kernels
from cpm_lm.checkpoints.dtypes import WEIGHTS, Array, to_float32
from cpm_lm.checkpoints.quantization.formats import PackedMatrix
from cpm_lm.config import GPTConfig
from cpm_lm.errors import CheckpointError
from cpm_lm.shapes import Float32

__all__ = ["Block", "Norm", "Tensors", "Weights", "Workspace"]


@dataclass(frozen=True)
class Norm:
    """The weight and the bias of a LayerNorm, float32[D]."""

    weight: Float32[np.ndarray, " D"]
    bias: Float32[np.ndarray, " D"]


@dataclass(frozen=True)
class Block:
    """The weights of one layer."""

    ln_1: Norm
    c_attn: kernels.Matrix
    c_proj: kernels.Matrix
    ln_2: Norm
    mlp_c_fc: kernels.Matrix
    mlp_c_proj: kernels.Matrix


Tensors = Mapping[str, Array | PackedMatrix]


class Weights:
    """All weights in the form that the kernels take.

    Args:
        config: the model's shape.
        tensors: by Hugging Face's GPT-2 names without the `transformer.` prefix; bf16 as its bits.
        element: the number format of all tensors that are not packed: f32, f16 or bf16.

    Raises:
        CheckpointError: a matrix is not aligned in its file.
    """

    def __init__(self, config: GPTConfig, tensors: Tensors, element: Any) -> None:
        def vector(name: str) -> Float32[np.ndarray, " D"]:
            values = tensors[name]
            assert isinstance(values, np.ndarray)
            return np.array(to_float32(values, WEIGHTS[element]))

        def norm(name: str) -> Norm:
            return Norm(vector(f"{name}.weight"), vector(f"{name}.bias"))

        def matrix(name: str, *, transposed: bool = False) -> kernels.Matrix:
            values = tensors[f"{name}.weight"]
            bias = None if transposed else vector(f"{name}.bias")
            if isinstance(values, PackedMatrix):
                bits: Any = f"q{values.bits}"
                inputs = values.shape[1]
                return kernels.Matrix.quantized(
                    values.codes, values.scales, bits, inputs, bias=bias
                )
            if not values.flags.aligned:
                raise CheckpointError(
                    "{name}.weight does not lie at a multiple of {itemsize} bytes in its "
                    "file, as its numbers must; write the model again with cpm convert",
                    name=name,
                    itemsize=values.itemsize,
                )
            return kernels.Matrix(values, element, transposed=transposed, bias=bias)

        self.wte = matrix("wte", transposed=True)
        self.wpe = matrix("wpe", transposed=True)
        self.blocks = [
            Block(
                ln_1=norm(f"h.{i}.ln_1"),
                c_attn=matrix(f"h.{i}.attn.c_attn"),
                c_proj=matrix(f"h.{i}.attn.c_proj"),
                ln_2=norm(f"h.{i}.ln_2"),
                mlp_c_fc=matrix(f"h.{i}.mlp.c_fc"),
                mlp_c_proj=matrix(f"h.{i}.mlp.c_proj"),
            )
            for i in range(config.n_layer)
        ]
        self.ln_f = norm("ln_f")

    @property
    def read_bytes(self) -> int:
        """The bytes that a step reads: all matrices but `wpe`, of which it reads a few rows."""
        blocks = ((h.c_attn, h.c_proj, h.mlp_c_fc, h.mlp_c_proj) for h in self.blocks)
        return self.wte.nbytes + sum(matrix.nbytes for block in blocks for matrix in block)


class Workspace:
    """The workspace: activations of T rows, reused by every layer."""

    def __init__(self, T: int, D: int) -> None:
        self.x = np.empty((T, D), np.float32)
        self.normed = np.empty((T, D), np.float32)
        self.qkv = np.empty((T, 3 * D), np.float32)
        self.attn = np.empty((T, D), np.float32)
        """The output of attention, before its projection."""
        self.inner = np.empty((T, 4 * D), np.float32)
