"""Read directories of Hugging Face's GPT-2: a configuration, and weights in any file format.

Knows the file names and the tensors of a model; does not know the file formats: `containers` does.
The tensors have the names and the layout of a store; some files add the prefix `transformer.`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cpm_lm.checkpoints.config_file import CONFIG, parse_config, read_values
from cpm_lm.checkpoints.containers.keras_h5 import read_keras_h5
from cpm_lm.checkpoints.containers.safetensors_file import read_safetensors
from cpm_lm.checkpoints.containers.torch_file import read_torch_file
from cpm_lm.checkpoints.containers.unpickler import StridedTensor
from cpm_lm.checkpoints.containers.weight_index import read_indexed
from cpm_lm.checkpoints.dtypes import FLOATS, nonfinite_problem, to_float32
from cpm_lm.checkpoints.known.qkv_bias_order import looks_misjoined
from cpm_lm.checkpoints.layout import Dims, shapes
from cpm_lm.checkpoints.layouts.store import MODEL, PREFIX
from cpm_lm.checkpoints.tensors import BLOCK_BYTES, ShardedTensor, Tensor, nonfinite_count
from cpm_lm.checkpoints.text import one_line
from cpm_lm.config import GPTConfig
from cpm_lm.errors import CheckpointError, ConfigError

__all__ = ["Pretrained", "find_weights", "read_pretrained"]

LM_HEAD = "lm_head.weight"
EMBEDDING = "wte.weight"
BUFFERS = re.compile(r"h\.\d{1,4}\.attn\.(bias|masked_bias)")
"""The causal mask and its fill value, which older versions saved with the weights."""

ACTIVATIONS = {"gelu_pytorch_tanh": "gelu_new", "gelu_fast": "gelu_new", "gelu_python": "gelu"}
"""Other names of the two activation functions."""

ReadResult = tuple[Mapping[str, Tensor], tuple[Path, ...]]
"""Tensors by name, and the files that hold them."""


@dataclass(frozen=True, kw_only=True)
class Pretrained:
    """The validated model of a directory; its tensors are memory-mapped."""

    directory: Path
    files: tuple[Path, ...]
    """The configuration and the weight files."""
    config: GPTConfig
    ids: Mapping[str, Any]
    """The values of the configuration file, for its special ids."""
    tensors: Mapping[str, ShardedTensor]
    """Every tensor, by its name in a store."""
    ignored: tuple[str, ...]
    """Tensors that are not used: buffers and copies, not weights."""
    notes: tuple[str, ...]
    """Anomalies, one line each."""


def find_weights(directory: Path) -> str | None:
    """Return the name of the weight file, or of the index, to read; None if there is none."""
    return next((name for name in READERS if (directory / name).is_file()), None)


def read_pretrained(directory: Path) -> Pretrained:
    """Read a directory in which `find_weights` finds weights.

    Raises:
        CheckpointError: a file is missing or damaged; tensors are missing, unknown or have the
            wrong shape; or the output matrix differs from the word embedding. All problems are
            listed.
        ConfigError: the configuration is not that of a GPT.
    """
    if not (directory / CONFIG).is_file():
        raise CheckpointError(
            f"{directory} has weights but no {CONFIG}; get it from the same publisher"
        )
    values = read_values(directory / CONFIG)
    config = _parse_config(values, directory / CONFIG)
    name = find_weights(directory)
    assert name is not None
    found, files = READERS[name](directory / name)
    tensors, ignored, problems = _select_tensors(found, config, values)
    if problems:
        # Without other problems, the values are checked while they are converted.
        problems += _nonfinite_problems(tensors)
        raise CheckpointError(
            f"{directory / name} does not match {CONFIG} ({len(problems)} problems): "
            f"{'; '.join(problems)}. Are all its files from the same download?"
        )
    return Pretrained(
        directory=directory,
        files=(directory / CONFIG, *files),
        config=config,
        ids=values,
        tensors={name: ShardedTensor((tensor,)) for name, tensor in tensors.items()},
        ignored=ignored,
        notes=tuple(_notes(config, tensors)),
    )


def _parse_config(values: dict[str, Any], path: Path) -> GPTConfig:
    kind = values.get("model_type", "gpt2")
    if kind != "gpt2":
        raise ConfigError(f"{path} has the model type {one_line(kind, 40)!r}; expected 'gpt2'")
    activation = values.get("activation_function")
    if isinstance(activation, str) and activation in ACTIVATIONS:
        values = {**values, "activation_function": ACTIVATIONS[activation]}
    return parse_config(values, path)


def _read_bin(path: Path) -> dict[str, Tensor]:
    """Return the tensors of one file written by torch.save."""
    root = read_torch_file(path)
    if not isinstance(root, dict) or not root:
        raise CheckpointError(
            f"{path} holds {type(root).__name__}; expected a dictionary of tensors"
        )
    not_tensors = [
        one_line(name, 60)
        for name, value in root.items()
        if not (isinstance(name, str) and name.isprintable() and isinstance(value, StridedTensor))
    ]
    if not_tensors:
        raise CheckpointError(f"{path}: these weights are not tensors: {', '.join(not_tensors)}")
    return {name: value.tensor for name, value in root.items()}


READERS: dict[str, Callable[[Path], ReadResult]] = {
    MODEL: lambda path: (read_safetensors(path), (path,)),
    f"{MODEL}.index.json": lambda path: read_indexed(path, read_safetensors),
    "pytorch_model.bin": lambda path: (_read_bin(path), (path,)),
    "pytorch_model.bin.index.json": lambda path: read_indexed(path, _read_bin),
    "tf_model.h5": lambda path: (read_keras_h5(path), (path,)),
}
"""Readers by the name of the weight file, in order of preference."""


def _select_tensors(
    found: Mapping[str, Tensor], config: GPTConfig, values: Mapping[str, Any]
) -> tuple[dict[str, Tensor], tuple[str, ...], list[str]]:
    """Return the model's tensors in network order, the ignored names, and all problems."""
    short, ignored, problems = _without_prefix(found)
    head = short.pop(LM_HEAD, None)
    expected = shapes(Dims.of(config))
    tensors = {name: short[name] for name in expected if name in short}
    problems += [f"{name} is missing" for name in expected if name not in short]
    problems += [
        f"{one_line(name)} is not part of this model" for name in short if name not in expected
    ]
    for name, tensor in tensors.items():
        if tensor.shape != expected[name]:
            problems.append(f"{name} has shape {tensor.shape}, expected {expected[name]}")
        elif tensor.dtype not in FLOATS:
            problems.append(f"{name} is {tensor.dtype}, expected {' or '.join(FLOATS)}")
    if head is not None:
        ignored.append(LM_HEAD)
        problems += _lm_head_problems(head, tensors.get(EMBEDDING))
    elif values.get("tie_word_embeddings") is False:
        problems.append(f"{LM_HEAD} is missing, but {CONFIG} says tie_word_embeddings is false")
    return tensors, tuple(ignored), problems


def _without_prefix(
    found: Mapping[str, Tensor],
) -> tuple[dict[str, Tensor], list[str], list[str]]:
    """Return the tensors by name without prefix, the names of buffers, and all duplicates."""
    tensors: dict[str, Tensor] = {}
    buffers, problems = [], []
    for name, tensor in found.items():
        short = name.removeprefix(PREFIX)
        if BUFFERS.fullmatch(short):
            buffers.append(name)
        elif short in tensors:
            problems.append(f"{one_line(short)} occurs twice, with {PREFIX!r} and without")
        else:
            tensors[short] = tensor
    return tensors, buffers, problems


def _lm_head_problems(head: Tensor, embedding: Tensor | None) -> Iterator[str]:
    """Yield a problem if the output matrix differs from the word embedding.

    Engines use the word embedding as the output matrix, and no published model of this family has
    a separate one.
    """
    if embedding is None or embedding.dtype not in FLOATS:
        return
    if head.shape != embedding.shape or head.dtype not in FLOATS:
        yield f"{LM_HEAD} is {head.dtype} {head.shape}, expected a copy of the word embedding"
        return
    rows = max(1, BLOCK_BYTES // max(1, 4 * head.array[:1].size))
    different = 0
    for start in range(0, len(head.array), rows):
        a, b = (to_float32(t.array[start : start + rows], t.dtype) for t in (head, embedding))
        different += int(np.count_nonzero((a != b).any(axis=1)))
    if different:
        yield (
            f"{LM_HEAD} differs from the word embedding in {different:,} of "
            f"{len(head.array):,} rows: "
            "a model with a separate output matrix is not supported"
        )


def _nonfinite_problems(tensors: Mapping[str, Tensor]) -> Iterator[str]:
    for name, tensor in tensors.items():
        if count := nonfinite_count(ShardedTensor((tensor,))):
            yield nonfinite_problem(name, count)


def _notes(config: GPTConfig, tensors: Mapping[str, Tensor]) -> Iterator[str]:
    biases = (tensors[f"h.{layer}.attn.c_attn.bias"] for layer in range(config.n_layer))
    if looks_misjoined(to_float32(bias.array, bias.dtype) for bias in biases):
        yield (
            "the biases of queries, keys and values look like a plain concatenation of two ranks' "
            "biases, an error of an early public conversion; such a model writes worse text: "
            "convert it again from the original files, and compare with cpm verify --against"
        )
