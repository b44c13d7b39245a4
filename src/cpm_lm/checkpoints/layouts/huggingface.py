"""Directories of Hugging Face's GPT-2: a configuration, and weights in any form they come in.

Knows the files' names, and which tensors a model has; the formats have their own modules. Names
and layout of the tensors are those of a store, but for a prefix that some files have.
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

HEAD = "lm_head.weight"
EMBEDDING = "wte.weight"
BUFFERS = re.compile(r"h\.\d{1,4}\.attn\.(bias|masked_bias)")
"""The causal mask and its value, which older versions kept beside the weights."""

ACTIVATIONS = {"gelu_pytorch_tanh": "gelu_new", "gelu_fast": "gelu_new", "gelu_python": "gelu"}
"""Other names of the same two functions."""

Found = tuple[Mapping[str, Tensor], tuple[Path, ...]]
"""Tensors by name, and the files they lie in."""


@dataclass(frozen=True, kw_only=True)
class Pretrained:
    """A directory's model, checked; its tensors still lie in their files."""

    directory: Path
    files: tuple[Path, ...]
    """The configuration and the files of weights."""
    config: GPTConfig
    ids: Mapping[str, Any]
    """The configuration as it was read, for the special ids it names."""
    tensors: Mapping[str, ShardedTensor]
    """Every tensor, by the names of a store."""
    ignored: tuple[str, ...]
    """Tensors that are no weights, or copies."""
    notes: tuple[str, ...]
    """What is odd, a line each."""


def find_weights(directory: Path) -> str | None:
    """Return the name of the file of weights, or of their index, that is read there, if any."""
    return next((name for name in READERS if (directory / name).is_file()), None)


def read_pretrained(directory: Path) -> Pretrained:
    """Read a directory that `find_weights` finds weights in.

    Raises:
        CheckpointError: a file is missing or damaged; tensors are missing, left over or misshapen,
            or the output matrix is not the word embedding: all problems are named.
        ConfigError: the configuration is not that of such a network.
    """
    if not (directory / CONFIG).is_file():
        raise CheckpointError(
            f"{directory} has weights but no {CONFIG}; get it from where they came from"
        )
    values = read_values(directory / CONFIG)
    config = _config(values, directory / CONFIG)
    name = find_weights(directory)
    assert name is not None
    found, files = READERS[name](directory / name)
    tensors, ignored, problems = _sorted_out(found, config, values)
    if problems:
        problems += _nonfinite(tensors)  # sound checkpoints are checked as they are written
        raise CheckpointError(
            f"{directory / name} is not the model of {CONFIG} ({len(problems)} problems): "
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


def _config(values: dict[str, Any], path: Path) -> GPTConfig:
    kind = values.get("model_type", "gpt2")
    if kind != "gpt2":
        raise ConfigError(f"{path} is of a model of type {one_line(kind, 40)!r}; expected 'gpt2'")
    said = values.get("activation_function")
    if isinstance(said, str) and said in ACTIVATIONS:
        values = {**values, "activation_function": ACTIVATIONS[said]}
    return parse_config(values, path)


def _read_bin(path: Path) -> dict[str, Tensor]:
    """Return the tensors of one file of torch.save."""
    root = read_torch_file(path)
    if not isinstance(root, dict) or not root:
        raise CheckpointError(f"{path} holds no tensors by name: {type(root).__name__} at its top")
    odd = [
        one_line(name, 60)
        for name, value in root.items()
        if not (isinstance(name, str) and name.isprintable() and isinstance(value, StridedTensor))
    ]
    if odd:
        raise CheckpointError(f"{path}: among the weights these are no tensors: {', '.join(odd)}")
    return {name: value.tensor for name, value in root.items()}


READERS: dict[str, Callable[[Path], Found]] = {
    MODEL: lambda path: (read_safetensors(path), (path,)),
    f"{MODEL}.index.json": lambda path: read_indexed(path, read_safetensors),
    "pytorch_model.bin": lambda path: (_read_bin(path), (path,)),
    "pytorch_model.bin.index.json": lambda path: read_indexed(path, _read_bin),
    "tf_model.h5": lambda path: (read_keras_h5(path), (path,)),
}
"""By the name of the file of weights; of several, the first that is there is read."""


def _sorted_out(
    found: Mapping[str, Tensor], config: GPTConfig, values: Mapping[str, Any]
) -> tuple[dict[str, Tensor], tuple[str, ...], list[str]]:
    """Return the model's tensors in order, the names of those left out, and all problems."""
    bare: dict[str, Tensor] = {}
    ignored, problems = [], []
    for name, tensor in found.items():
        short = name.removeprefix(PREFIX)
        if BUFFERS.fullmatch(short):
            ignored.append(name)
        elif short in bare:
            problems.append(f"{one_line(short)} is there twice, with {PREFIX!r} and without")
        else:
            bare[short] = tensor
    head = bare.pop(HEAD, None)
    expected = shapes(Dims.of(config))
    tensors = {name: bare[name] for name in expected if name in bare}
    problems += [f"{name} is missing" for name in expected if name not in bare]
    problems += [
        f"{one_line(name)} is no part of this model" for name in bare if name not in expected
    ]
    for name, tensor in tensors.items():
        if tensor.shape != expected[name]:
            problems.append(f"{name} has shape {tensor.shape}, expected {expected[name]}")
        elif tensor.dtype not in FLOATS:
            problems.append(f"{name} is {tensor.dtype}, expected {' or '.join(FLOATS)}")
    if head is not None:
        ignored.append(HEAD)
        problems += _untied(head, tensors.get(EMBEDDING))
    elif values.get("tie_word_embeddings") is False:
        problems.append(f"{HEAD} is missing, though {CONFIG} says it is not the word embedding")
    return tensors, tuple(ignored), problems


def _untied(head: Tensor, embedding: Tensor | None) -> Iterator[str]:
    """Yield a problem if the output matrix is not the word embedding.

    A store could keep a second matrix, but no engine has a place for it, and no published model of
    this family needs one.
    """
    if embedding is None or embedding.dtype not in FLOATS:
        return
    if head.shape != embedding.shape or head.dtype not in FLOATS:
        yield f"{HEAD} is {head.dtype} {head.shape}, expected the word embedding again"
        return
    rows = max(1, BLOCK_BYTES // max(1, 4 * head.array[:1].size))
    different = 0
    for start in range(0, len(head.array), rows):
        a, b = (to_float32(t.array[start : start + rows], t.dtype) for t in (head, embedding))
        different += int(np.count_nonzero((a != b).any(axis=1)))
    if different:
        yield (
            f"{HEAD} differs from the word embedding in {different:,} of {len(head.array):,} rows: "
            "a model with an output matrix of its own is not supported"
        )


def _nonfinite(tensors: Mapping[str, Tensor]) -> Iterator[str]:
    for name, tensor in tensors.items():
        if count := nonfinite_count(ShardedTensor((tensor,))):
            yield nonfinite_problem(name, count)


def _notes(config: GPTConfig, tensors: Mapping[str, Tensor]) -> Iterator[str]:
    biases = (tensors[f"h.{layer}.attn.c_attn.bias"] for layer in range(config.n_layer))
    if looks_misjoined(to_float32(bias.array, bias.dtype) for bias in biases):
        yield (
            "the biases of queries, keys and values look as if two ranks' were put one behind the "
            "other, as one early public conversion did; such a model writes worse text: convert "
            "it again from the original's files, and compare with cpm verify --against"
        )
