"""Random models of any shape, the same weights in the native and in the reference engine."""

from __future__ import annotations

from typing import Any

import numpy as np

from cpm_lm.checkpoints.dtypes import WEIGHTS, from_float32, to_float32
from cpm_lm.checkpoints.layout import Dims, is_transposed, shapes
from cpm_lm.checkpoints.quantization.formats import (
    FORMATS,
    Dequantized,
    PackedFormat,
    PackedMatrix,
    format_of,
    out_in_shape,
    pack_nibbles,
)
from cpm_lm.checkpoints.quantization.round_to_nearest import quantize
from cpm_lm.config import GPTConfig
from cpm_lm.engines.native.engine import NativeEngine
from cpm_lm.engines.reference import ReferenceEngine


def shape(**sizes: Any) -> GPTConfig:
    """A small shape; `sizes` replace its values."""
    small = {"vocab_size": 61, "n_positions": 64, "n_embd": 24, "n_layer": 2, "n_head": 3}
    return GPTConfig(**(small | sizes))


def random_tensors(config: GPTConfig, seed: int = 0) -> dict[str, np.ndarray]:
    """Random weights, large enough that attention is far from uniform."""
    rng = np.random.default_rng(seed)
    tensors = {}
    for name, size in shapes(Dims.of(config)).items():
        scale = 0.3 if len(size) == 1 else 1.5 / np.sqrt(config.n_embd)
        values = scale * rng.standard_normal(size)
        tensors[name] = (values + (name.endswith("weight") and "ln_" in name)).astype(np.float32)
    return tensors


def both(
    config: GPTConfig, element: str = "f32", seed: int = 0, **options: Any
) -> tuple[NativeEngine, ReferenceEngine]:
    """The two engines on the same rounded weights."""
    if element in FORMATS:
        return both_packed(config, element, seed, **options)
    dtype = WEIGHTS[element]
    stored = {name: from_float32(t, dtype) for name, t in random_tensors(config, seed).items()}
    exact = {name: np.array(to_float32(tensor, dtype)) for name, tensor in stored.items()}
    return NativeEngine(config, stored, element, **options), ReferenceEngine(config, exact)


def both_packed(
    config: GPTConfig, element: str, seed: int, **options: Any
) -> tuple[NativeEngine, ReferenceEngine]:
    """The two engines on the same packed weights, which the reference gets dequantized."""
    stored: dict[str, np.ndarray | PackedMatrix] = {}
    exact: dict[str, np.ndarray] = {}
    for name, values in random_tensors(config, seed).items():
        packing = format_of(element, name)
        if packing is None:
            stored[name] = exact[name] = values
            continue
        matrix = packed(values.T if is_transposed(name) else values, packing)
        assert matrix.shape == out_in_shape(name, values.shape)
        stored[name] = matrix
        exact[name] = Dequantized(matrix, is_transposed(name)).read()
    return NativeEngine(config, stored, element, **options), ReferenceEngine(config, exact)


def packed(matrix: np.ndarray, packing: PackedFormat) -> PackedMatrix:
    """Pack [out, in] as a store does."""
    outputs, inputs = matrix.shape
    filled = np.pad(matrix, ((0, 0), (0, packing.padded(inputs) - inputs)))
    codes, scales, _ = quantize(filled.reshape(outputs, -1, packing.group), packing)
    values = codes if packing.bits == 8 else pack_nibbles(codes)
    return PackedMatrix(values.reshape(outputs, -1), scales, packing, (outputs, inputs))
