"""Read the variables of a TensorFlow SavedModel, of the first TensorFlow port or of our export.

Knows how variables map to tensors; does not know the files (`tensor_bundle`) or the names
(`tensorflow_names`). Both programs store matrices as [in, out]. The first port computed the erf
form of GELU, but its weights are CPM's, so they are read as a model with the tanh form.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cpm_lm.checkpoints.config_file import CONFIG, read_config
from cpm_lm.checkpoints.containers.tensor_bundle import Bundle
from cpm_lm.checkpoints.dtypes import FLOATS
from cpm_lm.checkpoints.layout import Dims, check_layers, shapes
from cpm_lm.checkpoints.layouts.tensorflow_names import (
    OURS,
    PORT,
    Table,
    layer_count,
    sources,
    strip_keras_prefix,
)
from cpm_lm.checkpoints.tensors import ShardedTensor, Tensor
from cpm_lm.checkpoints.text import one_line
from cpm_lm.config import GPTConfig
from cpm_lm.errors import CheckpointError
from cpm_lm.languages import tr
from cpm_lm.messages import shortened
from cpm_lm.protobuf import Fields, fields

__all__ = ["EXTRA", "Variables", "find_variables", "read_variables"]

INDEX = "variables/variables.index"
EXTRA = "assets.extra"
"""The directory that TensorFlow ignores; our export stores the configuration and the tokenizer
there."""
GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"


@dataclass(frozen=True, kw_only=True)
class Variables:
    """The variables of a SavedModel as one model."""

    directory: Path
    """The directory of the SavedModel."""
    files: tuple[Path, ...]
    """The files with weights."""
    dims: Dims
    config: GPTConfig | None
    """The full configuration, which only our export records."""
    tensors: Mapping[str, ShardedTensor]
    """Every tensor, by its name in a store."""


def find_variables(path: Path) -> Path | None:
    """Return the SavedModel of a path: its directory, its `variables`, or a file in either."""
    folder = path if path.is_dir() else path.parent
    if folder.name == "variables":
        folder = folder.resolve().parent
    return folder if (folder / INDEX).is_file() else None


def read_variables(directory: Path) -> Variables:
    """Read the variables of a GPT in a SavedModel, written by the first port or by our export.

    Raises:
        CheckpointError: a file is missing or damaged; or variables are missing, unknown or have
            the wrong shape: all are listed.
        ConfigError: the configuration of our export is damaged.
    """
    bundle = Bundle(directory / INDEX)
    found = _by_name(bundle, directory)
    table = OURS if OURS["wte.weight"][0] in found else PORT
    dims = _dims(directory, found, table)
    saved = directory / EXTRA / CONFIG
    config = read_config(saved) if table is OURS and saved.is_file() else None
    if table is OURS and config is None:
        raise CheckpointError(
            "{directory} was made by cpm export, but its {extra}/{config} is "
            "missing; copy it there from the exported model",
            directory=directory,
            extra=EXTRA,
            config=CONFIG,
        )
    tensors, problems = _merge(found, table, dims, config)
    if problems:
        raise CheckpointError(
            "{directory} does not hold the variables of one GPT ({n_problems} "
            "problems): {problems}",
            directory=directory,
            n_problems=len(problems),
            problems=shortened(problems),
        )
    return Variables(
        directory=directory, files=bundle.files, dims=dims, config=config, tensors=tensors
    )


def _by_name(bundle: Bundle, directory: Path) -> dict[str, Tensor]:
    """Return every variable by its full name.

    The keys of the bundle are paths through Python objects, which differ between versions. The
    object graph, stored beside them, maps each key to the name of the variable.
    """
    if GRAPH not in bundle.entries:
        raise CheckpointError(
            "{directory} was not written by TensorFlow 2: no {graph}",
            directory=directory / INDEX,
            graph=GRAPH,
        )
    try:
        named = {
            _text(attribute, 3): _text(attribute, 2)
            for node in _messages(fields(bundle.string(GRAPH)), 1)
            for attribute in _messages(node, 2)
        }
    except ValueError as error:
        raise CheckpointError(
            "{directory} is damaged: {error}", directory=directory / INDEX, error=one_line(error)
        ) from None
    keys = [key for key in bundle.entries if key != GRAPH]
    by_name = {strip_keras_prefix(named.get(key) or key): key for key in keys}
    if len(by_name) < len(keys):
        raise CheckpointError(
            "{directory} has several variables with one name", directory=directory / INDEX
        )
    not_floats = [
        tr(
            "{name} is {entries_dtype}",
            name=one_line(name),
            entries_dtype=bundle.entries[key].dtype,
        )
        for name, key in sorted(by_name.items())
        if bundle.entries[key].dtype not in FLOATS
    ]
    if not_floats:
        raise CheckpointError(
            "{directory}: {not_floats}; expected only weights in {floats}",
            directory=directory,
            not_floats=shortened(not_floats, ", "),
            floats=" or ".join(FLOATS),
        )
    return {name: bundle.tensor(key) for name, key in by_name.items()}


def _messages(message: Fields, field: int) -> list[Fields]:
    return [fields(value) for value in message.get(field, []) if isinstance(value, bytes)]


def _text(message: Fields, field: int) -> str:
    value = message.get(field, [b""])[-1]
    return value.decode() if isinstance(value, bytes) else ""


def _dims(directory: Path, found: Mapping[str, Tensor], table: Table) -> Dims:
    shape = {}
    for target in ("wte.weight", "wpe.weight"):
        (name,) = table[target]
        if name not in found or len(found[name].shape) != 2 or 0 in found[name].shape:
            listed = shortened((one_line(other, 60) for other in sorted(found)), ", ")
            raise CheckpointError(
                "{directory} is not a GPT of the first TensorFlow port or of cpm export: "
                "expected a matrix {name} among its variables, found {listed}",
                directory=directory,
                name=name,
                listed=listed or "none",
            )
        shape[target] = found[name].shape
    V, D = shape["wte.weight"]
    layers = layer_count(found)
    check_layers(layers, len(found), directory)
    return Dims(V, shape["wpe.weight"][0], D, layers)


def _merge(
    found: Mapping[str, Tensor], table: Table, dims: Dims, config: GPTConfig | None
) -> tuple[dict[str, ShardedTensor], list[str]]:
    """Return the tensors that can be merged, and one line for every problem."""
    tensors, problems, unused = {}, [], set(found)
    tensor_shapes = shapes(dims)
    for target, names in sources(table, dims.n_layer):
        unused -= set(names)
        shape = tensor_shapes[target]
        part_shape = (*shape[:-1], shape[-1] // len(names))
        expected = _per_head_shape(target, config) or part_shape
        wrong = [tr("{name} is missing", name=name) for name in names if name not in found]
        parts = {name: found[name] for name in names if name in found}
        wrong += [
            tr(
                "{name} has shape {tensor_shape}, expected {expected}",
                name=name,
                tensor_shape=tensor.shape,
                expected=expected,
            )
            for name, tensor in parts.items()
            if tensor.shape != expected
        ]
        if len({tensor.dtype for tensor in parts.values()}) > 1:
            wrong.append(tr("{names} have different number formats", names=", ".join(names)))
        problems += wrong
        if not wrong:
            matrices = (
                Tensor(t.array.reshape(part_shape), t.dtype, t.check) for t in parts.values()
            )
            tensors[target] = ShardedTensor(tuple(matrices), len(shape) - 1)
    if not dims.n_layer:
        problems.append(tr("there are no layers"))
    problems += [
        tr("{name} is not part of this model", name=one_line(name)) for name in sorted(unused)
    ]
    return tensors, problems


def _per_head_shape(target: str, config: GPTConfig | None) -> tuple[int, ...] | None:
    """Return the shape of a tensor in our Keras model, if it is split by heads; else None."""
    if config is None:
        return None
    D, N, H = config.n_embd, config.n_head, config.head_size
    return {
        "attn.c_attn.weight": (D, 3, N, H),
        "attn.c_attn.bias": (3, N, H),
        "attn.c_proj.weight": (N, H, D),
    }.get(target.split(".", 2)[-1])
