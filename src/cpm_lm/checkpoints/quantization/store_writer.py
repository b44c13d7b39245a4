"""Write the tensors of a quantized store as a stream, and check them when a store is opened.

Knows the order of the file and the checks; does not know the packed bytes (`formats`) or how codes
are chosen (`round_to_nearest` and `gptq`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np

from cpm_lm.checkpoints.containers.safetensors_file import write_safetensors
from cpm_lm.checkpoints.dtypes import Array, Single, count_nonfinite, nonfinite_problem, to_float32
from cpm_lm.checkpoints.layout import Dims, is_transposed, shapes
from cpm_lm.checkpoints.quantization.formats import (
    GPTQ,
    SCALES,
    PackedFormat,
    PackedMatrix,
    entries,
    format_of,
    out_in_shape,
    pack_nibbles,
    rounding_of,
    scale_problem,
)
from cpm_lm.checkpoints.tensors import LazyTensor, Tensor
from cpm_lm.checkpoints.text import one_line
from cpm_lm.config import GPTConfig
from cpm_lm.errors import CheckpointError
from cpm_lm.languages import tr
from cpm_lm.messages import shortened

__all__ = ["packed_problems", "packed_tensors", "write_packed"]

MAX_RELATIVE_ERROR = 0.5
"""The largest accepted relative error of a tensor; above it, the values are too small for float16
scales. Typical errors are 0.01 in 8 bits and 0.1 in 4 bits."""


def write_packed(
    path: Path,
    config: GPTConfig,
    tensors: Mapping[str, LazyTensor],
    weights: str,
    on_bytes: Callable[[memoryview], None],
) -> dict[str, float]:
    """Quantize a model's tensors and write them to a file.

    Rounding to nearest holds one block of a tensor in memory; GPTQ holds one matrix.

    Args:
        path: the new file.
        config: the model's configuration.
        tensors: all tensors by name, in any float format.
        weights: a key of FORMATS.
        on_bytes: called with all bytes that are written.

    Returns:
        The relative error of every quantized tensor: ||quantized - original|| / ||original||.

    Raises:
        CheckpointError: a value is not finite, or too large or too small for float16 scales; every
            such tensor is named. The file is incomplete then.
    """
    dims = Dims.of(config)
    problems: list[str] = []
    errors: dict[str, float] = {}

    def blocks() -> Iterator[Array]:
        names = shapes(dims)
        floats = [name for name in names if format_of(weights, name) is None]
        for name in floats:
            for block in _float32_blocks(name, tensors[name], problems):
                yield np.ascontiguousarray(block)
        use_gptq = rounding_of(weights) == GPTQ
        for name in names:
            if (packing := format_of(weights, name)) is not None:
                if use_gptq and is_transposed(name):
                    break
                yield from _quantized_to_nearest(name, tensors[name], packing, errors, problems)
        if use_gptq:
            yield from _quantized_by_gptq(config, tensors, weights, errors, problems)

    write_safetensors(path, entries(dims, weights), blocks(), on_bytes)
    if problems:
        raise CheckpointError(
            "the weights cannot be stored as {weights}: {problems}",
            weights=weights,
            problems=shortened(problems),
        )
    return errors


def packed_problems(tensors: Mapping[str, Tensor], dims: Dims, weights: str) -> list[str]:
    """Return all problems of the tensors of a quantized store."""
    expected = entries(dims, weights)
    problems = [tr("{name} is missing", name=name) for name in expected.keys() - tensors.keys()]
    problems += [
        tr("{name} is not part of this model", name=one_line(name))
        for name in tensors.keys() - expected.keys()
    ]
    for name in expected.keys() & tensors.keys():
        found = tensors[name].dtype, tensors[name].shape
        if found != expected[name]:
            problems.append(
                tr(
                    "{name} is {dtype} {shape}, expected {expected}",
                    name=name,
                    dtype=found[0],
                    shape=found[1],
                    expected=expected[name],
                )
            )
    if problems:
        return sorted(problems)
    problems = [
        f"{name} {problem}"
        for name in expected
        if name.endswith(SCALES) and (problem := scale_problem(tensors[name].array))
    ]
    if not problems:
        problems = [
            tr("{name} has values in its padding, expected zeros", name=name)
            for name, packed in packed_tensors(tensors, dims, weights).items()
            if not packed.padding_is_zero()
        ]
    return problems


def packed_tensors(
    tensors: Mapping[str, Tensor], dims: Dims, weights: str
) -> dict[str, PackedMatrix]:
    """Return the quantized matrices of a store by name; `packed_problems` has found no problem."""
    return {
        name: PackedMatrix(
            tensors[name].array, tensors[name + SCALES].array, packing, out_in_shape(name, shape)
        )
        for name, shape in shapes(dims).items()
        if (packing := format_of(weights, name)) is not None
    }


def quantization_settings(weights: str) -> dict[str, object]:
    """Return the value of `quantization` in `config.json`."""
    packing = format_of(weights, "c_fc.weight")
    assert packing is not None
    return {"weights": weights, "group": packing.group}


def _float32_blocks(name: str, tensor: LazyTensor, problems: list[str]) -> Iterator[Single]:
    """Yield a tensor's blocks as float32; replace NaN and infinity by zero and report them."""
    nonfinite = 0
    for block in tensor.blocks():
        values = to_float32(block, tensor.dtype)
        block_nonfinite = count_nonfinite(values, "F32")
        yield np.nan_to_num(values, posinf=0, neginf=0) if block_nonfinite else values
        nonfinite += block_nonfinite
    if nonfinite:
        problems.append(nonfinite_problem(name, nonfinite))


def _quantized_to_nearest(
    name: str,
    tensor: LazyTensor,
    packing: PackedFormat,
    errors: dict[str, float],
    problems: list[str],
) -> Iterator[Array]:
    """Yield a matrix's codes in blocks, rounded to nearest, then its scales; record its error."""
    from cpm_lm.checkpoints.quantization.round_to_nearest import quantize  # not to open a store

    scales, squared_error, squared_norm = [], 0.0, 0.0
    by_output = tensor.transpose() if is_transposed(name) else tensor
    for block in _float32_blocks(name, by_output, problems):
        width = packing.padded(block.shape[1])
        rows = np.pad(block, ((0, 0), (0, width - block.shape[1])))
        codes, found, block_error = quantize(rows.reshape(len(rows), -1, packing.group), packing)
        scales.append(found)
        squared_error += block_error
        squared_norm += _squared_norm(block)
        yield codes if packing.bits == 8 else pack_nibbles(codes)
    yield _checked_scales(
        name, np.concatenate(scales), squared_error, squared_norm, errors, problems
    )


def _quantized_by_gptq(
    config: GPTConfig,
    tensors: Mapping[str, LazyTensor],
    weights: str,
    errors: dict[str, float],
    problems: list[str],
) -> Iterator[Array]:
    """Yield codes and scales of every matrix of the blocks, quantized by GPTQ; record errors."""
    from cpm_lm.checkpoints.quantization.calibration import calibration_steps
    from cpm_lm.checkpoints.quantization.gptq import gptq

    for step in calibration_steps(config, tensors):
        packing = format_of(weights, step.name)
        assert packing is not None
        matrix = np.concatenate(list(_float32_blocks(step.name, tensors[step.name], problems)))
        squared_norm = _squared_norm(matrix)
        codes, scales, squared_error = gptq(step.inputs, matrix, packing)
        step.rounded = matrix
        yield codes if packing.bits == 8 else pack_nibbles(codes)
        yield _checked_scales(step.name, scales, squared_error, squared_norm, errors, problems)


def _squared_norm(numbers: Single) -> float:
    return float(np.square(numbers, dtype=np.float64).sum())


def _checked_scales(
    name: str,
    scales: Array,
    squared_error: float,
    squared_norm: float,
    errors: dict[str, float],
    problems: list[str],
) -> Array:
    """Return a matrix's scales; record its relative error, and problems if there are any."""
    if overflows := np.count_nonzero(np.isinf(scales)):
        problems.append(
            tr(
                "{name} holds values too large for {overflows} float16 scales; choose "
                "weights='f32'",
                name=name,
                overflows=overflows,
            )
        )
    errors[name] = math.sqrt(squared_error / squared_norm) if squared_norm else 0.0
    if errors[name] > MAX_RELATIVE_ERROR:
        problems.append(
            tr(
                "{name} cannot be represented (relative error {errors:.2f}): its values "
                "are too small for float16 scales; choose weights='f32'",
                name=name,
                errors=errors[name],
            )
        )
    return scales
