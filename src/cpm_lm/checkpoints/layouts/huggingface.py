"""Read directories of Hugging Face's GPT-2: a configuration, and weights in any file format.

Knows the file names and the tensors of a model; does not know the file formats: `containers` does.
The tensors have the names and the layout of a store; some files add the prefix `transformer.`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cpm_lm.checkpoints.config_file import CONFIG, parse_config, read_values
from cpm_lm.checkpoints.dtypes import FLOATS, nonfinite_problem, to_float32
from cpm_lm.checkpoints.known.qkv_bias_order import looks_misjoined
from cpm_lm.checkpoints.layout import Dims, check_layers, shapes
from cpm_lm.checkpoints.layouts.pretrained_files import LM_HEAD, NAMES, find_weights, read_weights
from cpm_lm.checkpoints.layouts.state_dict import common_prefix
from cpm_lm.checkpoints.tensors import BLOCK_BYTES, ShardedTensor, Tensor, nonfinite_count
from cpm_lm.checkpoints.text import one_line
from cpm_lm.config import GPTConfig, passed_over
from cpm_lm.errors import CheckpointError, ConfigError
from cpm_lm.languages import tr
from cpm_lm.messages import shortened

__all__ = ["Pretrained", "read_pretrained"]

EMBEDDING = "wte.weight"
POSITIONS = "wpe.weight"
LAYER = re.compile(r"h\.(\d{1,4})\.")
BUFFERS = re.compile(r"h\.\d{1,4}\.attn\.(bias|masked_bias)")
"""The causal mask and its fill value, which older versions saved with the weights."""

ACTIVATIONS = {"gelu_pytorch_tanh": "gelu_new", "gelu_fast": "gelu_new", "gelu_python": "gelu"}
"""Other names of the two activation functions."""


@dataclass(frozen=True, kw_only=True)
class Pretrained:
    """The validated model of a directory; its tensors are memory-mapped."""

    directory: Path
    files: tuple[Path, ...]
    """The configuration and the weight files."""
    dims: Dims
    config: GPTConfig | None
    """None where a weight file has no configuration beside it."""
    ids: Mapping[str, Any]
    """The values of the configuration file, for its special ids."""
    tensors: Mapping[str, ShardedTensor]
    """Every tensor, by its name in a store."""
    ignored: tuple[str, ...]
    """Tensors that are not used: buffers and copies, not weights."""
    notes: tuple[str, ...]
    """Anomalies, one line each."""


def read_pretrained(path: Path) -> Pretrained:
    """Read a directory in which `find_weights` finds weights, or a weight file.

    Raises:
        CheckpointError: a file is missing or damaged; tensors are missing, unknown or have the
            wrong shape; or the output matrix differs from the word embedding. All problems are
            listed.
        ConfigError: the configuration is not that of a GPT.
    """
    directory = path if path.is_dir() else path.parent
    file = directory / (find_weights(path) or "") if path.is_dir() else path
    said = directory / CONFIG
    if not said.is_file() and path.is_dir():
        raise CheckpointError(
            "{directory} has weights but no {config}; get it from the same "
            "publisher, or give {file_name} itself and a configuration (--config)",
            directory=directory,
            config=CONFIG,
            file_name=file.name,
        )
    values = read_values(said) if said.is_file() else {}
    config = _parse_config(values, said) if said.is_file() else None
    found = read_weights(file)
    bare, ignored, problems = _without_prefix(found.tensors)
    notes = [*found.notes, *_inert_keys(values), *_head_as_embedding(bare, values)]
    dims = _dims(bare, file) if config is None else Dims.of(config)
    check_layers(dims.n_layer, len(bare), file)
    problems += _problems(bare, dims)
    problems += _lm_head_problems(bare, values)
    tensors = {name: bare[name] for name in shapes(dims) if name in bare}
    if problems:
        raise CheckpointError(_mismatch(file, problems, tensors, known=config is not None))
    return Pretrained(
        directory=directory,
        files=(*([said] if said.is_file() else []), *found.files),
        dims=dims,
        config=config,
        ids=values,
        tensors={name: ShardedTensor((tensor,)) for name, tensor in tensors.items()},
        ignored=(*ignored, *([LM_HEAD] if LM_HEAD in bare else [])),
        notes=(*notes, *_notes(dims, tensors)),
    )


def _mismatch(
    file: Path, problems: list[str], tensors: Mapping[str, Tensor], *, known: bool
) -> str:
    # Without other problems, the values are checked while they are converted.
    problems = [*problems, *_nonfinite_problems(tensors)]
    floats = all(tensor.dtype in FLOATS for tensor in tensors.values())
    download = tr("Are all its files from the same download?")
    expected = tr("match {config}", config=CONFIG) if known else tr("hold one complete GPT-2")
    return tr(
        "{file} does not {expected} ({n_problems} problems): {problems}. {download}",
        file=file,
        expected=expected,
        n_problems=len(problems),
        problems=shortened(problems),
        download=download if floats else tr("Get the model in 16 or 32 bits"),
    )


def _parse_config(values: dict[str, Any], path: Path) -> GPTConfig:
    kind = values.get("model_type", "gpt2")
    if kind != "gpt2":
        raise ConfigError(
            "{path} has the model type {kind!r}; expected 'gpt2'",
            path=path,
            kind=one_line(kind, 40),
        )
    activation = values.get("activation_function")
    if isinstance(activation, str) and activation in ACTIVATIONS:
        values = {**values, "activation_function": ACTIVATIONS[activation]}
    return parse_config(values, path)


def _without_prefix(found: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str], list[str]]:
    """Return the tensors by their bare names, the names of buffers, and names there twice.

    The output matrix may have less before its name than the others: `lm_head.weight` stands beside
    `transformer.wte.weight`, and `module.lm_head.weight` beside `module.transformer.wte.weight`.
    """
    prefix = common_prefix((name for name in found if not name.endswith(LM_HEAD)), NAMES)
    bare: dict[str, Tensor] = {}
    ignored, problems = [], []
    for name, tensor in found.items():
        short = name.removeprefix(prefix)
        if name.endswith(LM_HEAD) and prefix.startswith(name.removesuffix(LM_HEAD)):
            short = LM_HEAD
        if BUFFERS.fullmatch(short):
            ignored.append(name)
        elif short in bare:
            problems.append(
                tr(
                    "{short} occurs twice, with {prefix!a} and without",
                    short=one_line(short),
                    prefix=prefix,
                )
            )
        else:
            bare[short] = tensor
    return bare, ignored, problems


def _head_as_embedding(bare: dict[str, Tensor], values: Mapping[str, Any]) -> Iterator[str]:
    """Give the output matrix the embedding's name where only it was saved, and yield a note."""
    if LM_HEAD in bare and EMBEDDING not in bare and values.get("tie_word_embeddings") is not False:
        bare[EMBEDDING] = bare.pop(LM_HEAD)
        yield tr(
            "there is no {embedding}; {lm_head}, which is the same matrix, is used in its place",
            embedding=EMBEDDING,
            lm_head=LM_HEAD,
        )


def _dims(bare: Mapping[str, Tensor], file: Path) -> Dims:
    """Return what the tensors say about the shape, where no configuration does."""
    for name in (EMBEDDING, POSITIONS):
        shape = bare[name].shape if name in bare else None
        if shape is None or len(shape) != 2 or 0 in shape:
            raise CheckpointError(
                "{file} is no GPT-2: expected a matrix {name}, found {shape}",
                file=file,
                name=name,
                shape=shape or shortened((one_line(other, 60) for other in bare), ", "),
            )
    layers = [int(match[1]) for name in bare if (match := LAYER.match(name))]
    (V, D), P = bare[EMBEDDING].shape, bare[POSITIONS].shape[0]
    return Dims(V, P, D, 1 + max(layers, default=-1))


def _problems(bare: Mapping[str, Tensor], dims: Dims) -> Iterator[str]:
    """Yield a line for every tensor that is not as it should be, missing or left over.

    A message shows the first few, so those come first that tell most: the shapes.
    """
    expected = shapes(dims)
    for name, tensor in bare.items():
        if name in expected and tensor.shape != expected[name]:
            yield tr(
                "{name} has shape {tensor_shape}, expected {expected}",
                name=name,
                tensor_shape=tensor.shape,
                expected=expected[name],
            )
        elif name in expected and tensor.dtype not in FLOATS:
            yield tr(
                "{name} is {tensor_dtype}, expected {floats}",
                name=name,
                tensor_dtype=tensor.dtype,
                floats=" or ".join(FLOATS),
            )
    yield from (tr("{name} is missing", name=name) for name in expected if name not in bare)
    for name in sorted(bare.keys() - {LM_HEAD} - expected.keys()):
        yield tr("{name} is not part of this model", name=one_line(name))


def _lm_head_problems(bare: Mapping[str, Tensor], values: Mapping[str, Any]) -> Iterator[str]:
    """Yield a problem if the output matrix differs from the word embedding.

    Engines use the word embedding as the output matrix, and no published model of this family has
    a separate one.
    """
    head, embedding = bare.get(LM_HEAD), bare.get(EMBEDDING)
    if head is None and values.get("tie_word_embeddings") is False:
        yield tr(
            "{lm_head} is missing, but {config} says tie_word_embeddings is false",
            lm_head=LM_HEAD,
            config=CONFIG,
        )
    if head is None or embedding is None or embedding.dtype not in FLOATS:
        return
    if head.shape != embedding.shape or head.dtype not in FLOATS:
        yield tr(
            "{lm_head} is {head_dtype} {head_shape}, expected a copy of the word embedding",
            lm_head=LM_HEAD,
            head_dtype=head.dtype,
            head_shape=head.shape,
        )
        return
    rows = max(1, BLOCK_BYTES // max(1, 4 * head.array[:1].size))
    different = 0
    for start in range(0, len(head.array), rows):
        a, b = (to_float32(t.array[start : start + rows], t.dtype) for t in (head, embedding))
        different += int(np.count_nonzero((a != b).any(axis=1)))
    if different:
        yield (
            tr(
                "{lm_head} differs from the word embedding in {different:,} of "
                "{n_array:,} rows: a model with a separate output matrix is not supported",
                lm_head=LM_HEAD,
                different=different,
                n_array=len(head.array),
            )
        )


def _nonfinite_problems(tensors: Mapping[str, Tensor]) -> Iterator[str]:
    for name, tensor in tensors.items():
        if count := nonfinite_count(ShardedTensor((tensor,))):
            yield nonfinite_problem(name, count)


def _inert_keys(values: Mapping[str, Any]) -> Iterator[str]:
    if keys := passed_over(values):
        yield (
            tr(
                "{config} has keys that change nothing here and were passed over: {keys}",
                config=CONFIG,
                keys=shortened((one_line(key, 60) for key in keys), ", "),
            )
        )


def _notes(dims: Dims, tensors: Mapping[str, Tensor]) -> Iterator[str]:
    biases = (tensors[f"h.{layer}.attn.c_attn.bias"] for layer in range(dims.n_layer))
    if looks_misjoined(to_float32(bias.array, bias.dtype) for bias in biases):
        yield (
            tr(
                "the biases of queries, keys and values look like a plain concatenation "
                "of two ranks' biases, an error of an early public conversion; such a "
                "model writes worse text: convert it again from the original files, and "
                "compare with cpm verify --against"
            )
        )
