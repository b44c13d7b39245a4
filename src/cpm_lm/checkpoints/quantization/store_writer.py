"""A store in 8 or 4 bits written as a stream, and checked when it is opened.

Knows what goes where in the file; `formats` knows the bytes, `round_to_nearest` and
`gptq` the choice of codes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np

from cpm_lm.checkpoints.containers.safetensors_file import write_safetensors
from cpm_lm.checkpoints.dtypes import Array, Single, count_nonfinite, nonfinite_problem, to_float32
from cpm_lm.checkpoints.layout import Dims, is_transposed, shapes
from cpm_lm.checkpoints.quantization.calibration import calibration_steps
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
from cpm_lm.checkpoints.quantization.gptq import gptq
from cpm_lm.checkpoints.quantization.round_to_nearest import quantize
from cpm_lm.checkpoints.tensors import LazyTensor, Tensor
from cpm_lm.checkpoints.text import one_line
from cpm_lm.config import GPTConfig
from cpm_lm.errors import CheckpointError

__all__ = ["packed_problems", "packed_tensors", "write_packed"]

MAX_RELATIVE_ERROR = 0.5
"""A tensor's relative error above which nothing of it is left: its numbers are too small for
float16 scales. 0.01 is usual in 8 bits, 0.1 in 4."""


def write_packed(
    path: Path,
    config: GPTConfig,
    tensors: Mapping[str, LazyTensor],
    weights: str,
    on_bytes: Callable[[memoryview], None],
) -> dict[str, float]:
    """Write a model's tensors packed.

    To the nearest, a block of a tensor is in memory, never a whole one; with feedback, a matrix.

    Args:
        path: the new file.
        config: the model's shape.
        tensors: all tensors by name, in any float format.
        weights: a key of FORMATS.
        on_bytes: called with everything that is written.

    Returns:
        The relative error of every packed tensor: the norm of the difference over its own.

    Raises:
        CheckpointError: a number is not finite, or too large or too small for float16 scales;
            every tensor that holds such a number is named. The file is incomplete then.
    """
    dims = Dims.of(config)
    problems: list[str] = []
    errors: dict[str, float] = {}

    def blocks() -> Iterator[Array]:
        names = shapes(dims)
        floats = [name for name in names if format_of(weights, name) is None]
        for name in floats:
            for block in _wide(name, tensors[name], problems):
                yield np.ascontiguousarray(block)
        fed_back = rounding_of(weights) == GPTQ
        for name in names:
            if (packing := format_of(weights, name)) is not None:
                if fed_back and is_transposed(name):
                    break
                yield from _packed(name, tensors[name], packing, errors, problems)
        if fed_back:
            yield from _fed_back(config, tensors, weights, errors, problems)

    write_safetensors(path, entries(dims, weights), blocks(), on_bytes)
    if problems:
        raise CheckpointError(f"the weights cannot be stored as {weights}: {'; '.join(problems)}")
    return errors


def packed_problems(tensors: Mapping[str, Tensor], dims: Dims, weights: str) -> list[str]:
    """Return all that is wrong with the tensors of a packed store."""
    expected = entries(dims, weights)
    problems = [f"{name} is missing" for name in expected.keys() - tensors.keys()]
    problems += [
        f"{one_line(name)} does not belong there" for name in tensors.keys() - expected.keys()
    ]
    for name in expected.keys() & tensors.keys():
        found = tensors[name].dtype, tensors[name].shape
        if found != expected[name]:
            problems.append(f"{name} is {found[0]} {found[1]}, expected {expected[name]}")
    if problems:
        return sorted(problems)
    problems = [
        f"{name} {wrong}"
        for name in expected
        if name.endswith(SCALES) and (wrong := scale_problem(tensors[name].array))
    ]
    if not problems:
        problems = [
            f"{name} has numbers in its padding, expected zeros"
            for name, packed in packed_tensors(tensors, dims, weights).items()
            if not packed.padding_is_zero()
        ]
    return problems


def packed_tensors(
    tensors: Mapping[str, Tensor], dims: Dims, weights: str
) -> dict[str, PackedMatrix]:
    """Return the matrices of a store whose tensors are as they should be, by name."""
    return {
        name: PackedMatrix(
            tensors[name].array, tensors[name + SCALES].array, packing, out_in_shape(name, shape)
        )
        for name, shape in shapes(dims).items()
        if (packing := format_of(weights, name)) is not None
    }


def settings(weights: str) -> dict[str, object]:
    """Return what `config.json` says about the format."""
    packing = format_of(weights, "c_fc.weight")
    assert packing is not None
    return {"weights": weights, "group": packing.group}


def _wide(name: str, tensor: LazyTensor, problems: list[str]) -> Iterator[Single]:
    """Yield a tensor's blocks as float32; numbers that are none become a problem, and zero."""
    nonfinite = 0
    for block in tensor.blocks():
        unfit = count_nonfinite(block, tensor.dtype)
        wide = to_float32(block, tensor.dtype)
        yield np.nan_to_num(wide, posinf=0, neginf=0) if unfit else wide
        nonfinite += unfit
    if nonfinite:
        problems.append(nonfinite_problem(name, nonfinite))


def _packed(
    name: str,
    tensor: LazyTensor,
    packing: PackedFormat,
    errors: dict[str, float],
    problems: list[str],
) -> Iterator[Array]:
    """Yield a matrix's codes block by block, then its scales; note its error."""
    scales, wrong, power = [], 0.0, 0.0
    for block in _wide(name, tensor.transpose() if is_transposed(name) else tensor, problems):
        width = packing.padded(block.shape[1])
        rows = np.pad(block, ((0, 0), (0, width - block.shape[1])))
        codes, found, lost = quantize(rows.reshape(len(rows), -1, packing.group), packing)
        scales.append(found)
        wrong, power = wrong + lost, power + _power(block)
        yield codes if packing.bits == 8 else pack_nibbles(codes)
    yield _judged(name, np.concatenate(scales), wrong, power, errors, problems)


def _fed_back(
    config: GPTConfig,
    tensors: Mapping[str, LazyTensor],
    weights: str,
    errors: dict[str, float],
    problems: list[str],
) -> Iterator[Array]:
    """Yield the codes and scales of the blocks' matrices in turn; note their errors."""
    for step in calibration_steps(config, tensors):
        packing = format_of(weights, step.name)
        assert packing is not None
        matrix = np.concatenate(list(_wide(step.name, tensors[step.name], problems)))
        power = _power(matrix)
        codes, scales, wrong = gptq(step.inputs, matrix, packing)
        step.rounded = matrix
        yield codes if packing.bits == 8 else pack_nibbles(codes)
        yield _judged(step.name, scales, wrong, power, errors, problems)


def _power(numbers: Single) -> float:
    return float(np.square(numbers, dtype=np.float64).sum())


def _judged(
    name: str,
    scales: Array,
    wrong: float,
    power: float,
    errors: dict[str, float],
    problems: list[str],
) -> Array:
    """Return a matrix's scales; note its error, and what is wrong with it."""
    if wider := np.count_nonzero(np.isinf(scales)):
        problems.append(
            f"{name} holds numbers too large for {wider} float16 scales; choose weights='f32'"
        )
    errors[name] = math.sqrt(wrong / power) if power else 0.0
    if errors[name] > MAX_RELATIVE_ERROR:
        problems.append(
            f"{name} loses its numbers (relative error {errors[name]:.2f}): they are too small "
            "for float16 scales; choose weights='f32'"
        )
    return scales
