"""Our own layout: a directory with `config.json`, `model.safetensors` and the tokenizer files.

Knows the directory; does not know where weights come from. Float tensors have the names and the
layout of Hugging Face's GPT-2, without prefix, so that other tools can read them. Quantized
matrices have the format of `quantization.formats`, and `config.json` has one extra key.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from cpm_lm.checkpoints.config_file import CONFIG, parse_config, read_values
from cpm_lm.checkpoints.containers.mapped_file import MappedFile, mapped_files
from cpm_lm.checkpoints.containers.safetensors_file import read_safetensors, write_safetensors
from cpm_lm.checkpoints.dtypes import (
    WEIGHTS,
    Array,
    Single,
    count_nonfinite,
    nonfinite_problem,
    reformatted,
    to_float32,
    weights_dtype,
)
from cpm_lm.checkpoints.layout import Dims, check_layers, is_transposed, shapes
from cpm_lm.checkpoints.quantization.formats import FORMATS, Dequantized, PackedMatrix
from cpm_lm.checkpoints.quantization.store_writer import (
    packed_problems,
    packed_tensors,
    quantization_settings,
    write_packed,
)
from cpm_lm.checkpoints.tensors import LazyTensor, ShardedTensor, Tensor
from cpm_lm.checkpoints.text import one_line
from cpm_lm.config import GPTConfig
from cpm_lm.errors import CheckpointError
from cpm_lm.languages import tr
from cpm_lm.messages import shortened
from cpm_lm.storage.replacing import put_back
from cpm_lm.tokenizer import Tokenizer

__all__ = ["MODEL", "QUANTIZATION", "Store", "cast_blocks", "is_packed", "write_model"]

MODEL = "model.safetensors"
QUANTIZATION = "quantization"
"""The key of `config.json` that states how the matrices are quantized; absent for floats."""
PREFIX = "transformer."
"""The prefix that Hugging Face's library adds to tensor names when it saves."""


class Store:
    """An open store; its tensors are memory-mapped.

    Attributes:
        directory: the store's directory.
        config: the model's configuration.
        weights: the number format, "f32", "f16", "bf16", "q8" or "q4".
        files: the files that are mapped, which say whether they were changed since.
    """

    directory: Path
    config: GPTConfig
    weights: str
    files: tuple[MappedFile, ...]

    def __init__(
        self, directory: Path, config: GPTConfig, weights: str, tensors: dict[str, Tensor]
    ) -> None:
        self.directory = directory
        self.config = config
        self.weights = weights
        dims = Dims.of(config)
        self._packed = packed_tensors(tensors, dims, weights) if weights in FORMATS else {}
        self._tensors = {name: tensors[name] for name in shapes(dims)}
        self.files = mapped_files(tensor.array for tensor in tensors.values())

    @classmethod
    def open(cls, directory: str | Path) -> Store:
        """Open a store; check names, shapes, number formats and sizes, but not digests.

        For quantized matrices, the scales and the padding are checked too.

        Raises:
            CheckpointError: a file is missing or damaged, or the tensors do not match the
                configuration; all problems are listed.
        """
        directory = Path(directory)
        put_back(directory)
        if not directory.is_dir():
            found = tr("is a file") if directory.exists() else tr("does not exist")
            raise CheckpointError(
                "{directory} {found}; expected a directory from cpm convert",
                directory=directory,
                found=found,
            )
        for name in (CONFIG, MODEL):
            if not (directory / name).is_file():
                raise CheckpointError(
                    "{directory} is not a converted model: it has no {name}; convert a "
                    "published checkpoint with cpm convert",
                    directory=directory,
                    name=name,
                )
        values = read_values(directory / CONFIG)
        config, packed = (
            parse_config(values, directory / CONFIG),
            _parse_quantization(values, directory),
        )
        tensors = read_safetensors(directory / MODEL)
        if any(name.startswith(PREFIX) for name in tensors):
            raise CheckpointError(
                "{directory} is a Hugging Face model, not a converted model; convert it "
                "with cpm convert",
                directory=directory,
            )
        dims = Dims.of(config)
        check_layers(dims.n_layer, len(tensors), directory / MODEL)
        problems = (
            packed_problems(tensors, dims, packed) if packed else _float_problems(tensors, dims)
        )
        if problems:
            raise CheckpointError(
                "{directory} does not match {config}: {problems}",
                directory=directory / MODEL,
                config=CONFIG,
                problems=shortened(problems),
            )
        dtype = next(iter(tensors.values())).dtype
        weights = packed or next(name for name, known in WEIGHTS.items() if known == dtype)
        return cls(directory, config, weights, tensors)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all tensors, in network order."""
        return tuple(self._tensors)

    @property
    def has_tokenizer(self) -> bool:
        """Whether the store has tokenizer files."""
        return bool(Tokenizer.files(self.directory))

    def tensor(self, name: str) -> Array:
        """Return a read-only memory-mapped view of a tensor as stored; bf16 as uint16 bits.

        Raises:
            CheckpointError: there is no such tensor, or it is quantized.
        """
        if self.packed(name) is not None:
            raise CheckpointError(
                "{name} of {directory} has {bits} bits and scales; use Store.packed or "
                "Store.float32",
                name=name,
                directory=self.directory,
                bits=self._packed[name].bits,
            )
        return self._tensors[name].array

    def packed(self, name: str) -> PackedMatrix | None:
        """Return a quantized matrix as memory-mapped views; None if it is stored as floats.

        Raises:
            CheckpointError: there is no such tensor.
        """
        if name not in self._tensors:
            raise CheckpointError(
                "{directory} has no tensor {name!r}", directory=self.directory, name=name
            )
        return self._packed.get(name)

    def lazy(self, name: str) -> LazyTensor:
        """Return a tensor that is read in blocks; a quantized one is dequantized on reading.

        Raises:
            CheckpointError: there is no such tensor.
        """
        if (packed := self.packed(name)) is not None:
            return Dequantized(packed, transposed=is_transposed(name))
        return ShardedTensor((self._tensors[name],))

    def float32(self, name: str) -> Single:
        """Return a tensor as float32: a memory-mapped view if stored as float32, else a new array.

        Raises:
            CheckpointError: there is no such tensor.
        """
        tensor = self.lazy(name)
        return to_float32(tensor.read(), tensor.dtype)


def is_packed(directory: Path) -> bool:
    """Return whether a directory is a quantized store."""
    return (directory / MODEL).is_file() and QUANTIZATION in read_values(directory / CONFIG)


def write_model(
    directory: Path,
    config: GPTConfig,
    tensors: Mapping[str, LazyTensor],
    weights: str,
    on_bytes: Callable[[memoryview], None] = lambda _: None,
    *,
    ids: Mapping[str, int | None] | None = None,
) -> dict[str, float]:
    """Write `config.json` and `model.safetensors` into a directory; tensors are streamed.

    Args:
        directory: an existing directory without these files.
        config: the model's configuration.
        tensors: all tensors by name, in any float format.
        weights: the number format to write.
        on_bytes: called with all bytes that are written to `model.safetensors`.
        ids: special ids to add to the configuration, for other tools.

    Returns:
        The relative error of every quantized matrix.

    Raises:
        CheckpointError: a value is not finite or too large for the format; every such tensor is
            named. The files are incomplete then.
        OSError: the disk is full or not writable.
    """
    errors: dict[str, float] = {}
    values = {**config.to_json(), **(ids or {})}
    if weights in FORMATS:
        errors = write_packed(directory / MODEL, config, tensors, weights, on_bytes)
        values[QUANTIZATION] = quantization_settings(weights)
    else:
        _write_floats(directory / MODEL, config, tensors, weights, on_bytes)
    (directory / CONFIG).write_text(json.dumps(values, indent=2) + "\n", "utf-8")
    return errors


def _write_floats(
    path: Path,
    config: GPTConfig,
    tensors: Mapping[str, LazyTensor],
    weights: str,
    on_bytes: Callable[[memoryview], None],
) -> None:
    dtype = weights_dtype(weights)
    expected = shapes(Dims.of(config))
    problems: list[str] = []
    blocks = (
        block for name in expected for block in cast_blocks(name, tensors[name], dtype, problems)
    )
    entries = {name: (dtype, shape) for name, shape in expected.items()}
    write_safetensors(path, entries, blocks, on_bytes)
    if problems:
        raise CheckpointError(
            "the weights cannot be stored as {weights}: {problems}",
            weights=weights,
            problems=shortened(problems),
        )


def cast_blocks(name: str, tensor: LazyTensor, dtype: str, problems: list[str]) -> Iterator[Array]:
    """Yield a tensor's blocks in another float format, and check the values.

    Args:
        name: the tensor's name in messages.
        tensor: a tensor in any float format.
        dtype: the format to yield, a key of DTYPES.
        problems: after the last block, one line is appended for values that are not finite, and
            one for values that overflow the format.
    """
    nonfinite = overflow = 0
    for block in tensor.blocks():
        block_nonfinite = count_nonfinite(block, tensor.dtype)
        nonfinite += block_nonfinite
        if tensor.dtype == dtype:
            yield block
            continue
        rounded = reformatted(block, tensor.dtype, dtype)
        overflow += count_nonfinite(rounded, dtype) - block_nonfinite
        yield rounded
    if nonfinite:
        problems.append(nonfinite_problem(name, nonfinite))
    if overflow:
        problems.append(
            tr(
                "{name} holds {overflow} values too large for {dtype}",
                name=name,
                overflow=overflow,
                dtype=dtype,
            )
            + (tr("; choose weights='f32'") if dtype != "F32" else "")
        )


def _parse_quantization(values: Mapping[str, Any], directory: Path) -> str | None:
    """Return the quantization that a configuration states, q8 or q4; None if it states none.

    Raises:
        CheckpointError: the quantization is unknown.
    """
    if QUANTIZATION not in values:
        return None
    found = values[QUANTIZATION]
    for weights in FORMATS:
        if found == quantization_settings(weights):
            return weights
    known = " or ".join(json.dumps(quantization_settings(weights)) for weights in FORMATS)
    raise CheckpointError(
        "{directory} says {quantization} {found}, expected {known}; convert the model again",
        directory=directory / CONFIG,
        quantization=QUANTIZATION,
        found=one_line(found, 80),
        known=known,
    )


def _float_problems(tensors: Mapping[str, Tensor], dims: Dims) -> list[str]:
    """Return all problems of the tensors of a float store, the most telling first."""
    expected = shapes(dims)
    problems = [
        tr(
            "{name} has shape {tensors_shape}, expected {shape}",
            name=name,
            tensors_shape=tensors[name].shape,
            shape=shape,
        )
        for name, shape in expected.items()
        if name in tensors and tensors[name].shape != shape
    ]
    dtypes = {tensor.dtype for tensor in tensors.values()}
    if len(dtypes) > 1 or not dtypes <= set(WEIGHTS.values()):
        problems.append(
            tr(
                "number formats {dtypes}, expected one of {weights}",
                dtypes=shortened(sorted(dtypes), ", "),
                weights=", ".join(WEIGHTS.values()),
            )
        )
    problems += [tr("{name} is missing", name=name) for name in expected if name not in tensors]
    problems += [
        tr("{name} is not part of this model", name=one_line(name))
        for name in sorted(tensors.keys() - expected.keys())
    ]
    return problems
