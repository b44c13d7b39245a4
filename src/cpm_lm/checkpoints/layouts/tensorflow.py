"""The variables of a TensorFlow SavedModel: the first TensorFlow port's, or our own export's.

Knows how they make a model; `tensor_bundle` knows the files, `tensorflow_names` the names. Both
programs keep matrices as [in, out]. The first port computed the erf form of GELU, but its weights
are CPM's, so they are read as a model with the tanh form.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cpm_lm.checkpoints.config_file import CONFIG, read_config
from cpm_lm.checkpoints.containers.protobuf import Fields, fields
from cpm_lm.checkpoints.containers.tensor_bundle import Bundle
from cpm_lm.checkpoints.dtypes import FLOATS
from cpm_lm.checkpoints.layout import Dims, shapes
from cpm_lm.checkpoints.layouts.tensorflow_names import OURS, PORT, Table, layers_of, plain, sources
from cpm_lm.checkpoints.tensors import ShardedTensor, Tensor
from cpm_lm.checkpoints.text import one_line
from cpm_lm.config import GPTConfig
from cpm_lm.errors import CheckpointError

__all__ = ["EXTRA", "Variables", "find_variables", "read_variables"]

INDEX = "variables/variables.index"
EXTRA = "assets.extra"
"""Where a SavedModel keeps what TensorFlow passes over: our export's configuration, tokenizer."""
GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"


@dataclass(frozen=True, kw_only=True)
class Variables:
    """A SavedModel's variables, as one model."""

    directory: Path
    """The SavedModel."""
    files: tuple[Path, ...]
    """Those with weights."""
    dims: Dims
    config: GPTConfig | None
    """The whole shape, which only our own export says."""
    tensors: Mapping[str, ShardedTensor]
    """Every tensor, by the names of a store."""


def find_variables(path: Path) -> Path | None:
    """Return the SavedModel that is meant by it, its `variables` or a file of either."""
    folder = path if path.is_dir() else path.parent
    if folder.name == "variables":
        folder = folder.resolve().parent
    return folder if (folder / INDEX).is_file() else None


def read_variables(directory: Path) -> Variables:
    """Read the variables of a SavedModel of a GPT, of the first port's program or our own.

    Raises:
        CheckpointError: a file is missing or damaged, or the variables are not those of one such
            model; all that are missing, left over or misshapen are named.
        ConfigError: the configuration of our own export is damaged.
    """
    bundle = Bundle(directory / INDEX)
    found = _by_name(bundle, directory)
    table = OURS if OURS["wte.weight"][0] in found else PORT
    dims = _dims(directory, found, table)
    saved = directory / EXTRA / CONFIG
    config = read_config(saved) if table is OURS and saved.is_file() else None
    if table is OURS and config is None:
        raise CheckpointError(
            f"{directory} was made by cpm export, but its {EXTRA}/{CONFIG} is missing; "
            "copy it there from the model it was made of"
        )
    tensors, problems = _join(found, table, dims, config)
    if problems:
        raise CheckpointError(
            f"{directory} does not hold the variables of one GPT ({len(problems)} problems): "
            f"{'; '.join(problems)}"
        )
    return Variables(
        directory=directory, files=bundle.files, dims=dims, config=config, tensors=tensors
    )


def _by_name(bundle: Bundle, directory: Path) -> dict[str, Tensor]:
    """Return every variable by the name its program gave it.

    Keys are paths through the objects of that program, and differ with the version that wrote
    them; the graph of objects, stored beside them, tells the variables' own names.
    """
    if GRAPH not in bundle.entries:
        raise CheckpointError(f"{directory / INDEX} was not written by TensorFlow 2: no {GRAPH}")
    try:
        named = {
            _text(attribute, 3): _text(attribute, 2)
            for node in _messages(fields(bundle.string(GRAPH)), 1)
            for attribute in _messages(node, 2)
        }
    except ValueError as error:
        raise CheckpointError(f"{directory / INDEX} is damaged: {one_line(error)}") from None
    keys = [key for key in bundle.entries if key != GRAPH]
    by_name = {plain(named.get(key) or key): key for key in keys}
    if len(by_name) < len(keys):
        raise CheckpointError(f"{directory / INDEX} gives several variables one name")
    odd = [
        f"{one_line(name)} is {bundle.entries[key].dtype}"
        for name, key in sorted(by_name.items())
        if bundle.entries[key].dtype not in FLOATS
    ]
    if odd:
        raise CheckpointError(
            f"{directory}: {', '.join(odd)}; expected only weights, {' or '.join(FLOATS)}"
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
            listed = ", ".join(one_line(other, 60) for other in sorted(found)[:6])
            raise CheckpointError(
                f"{directory} is no GPT of the first TensorFlow port and none of ours: expected "
                f"a matrix {name} among its variables, found {listed or 'none'}"
            )
        shape[target] = found[name].shape
    V, D = shape["wte.weight"]
    return Dims(V, shape["wpe.weight"][0], D, layers_of(found))


def _join(
    found: Mapping[str, Tensor], table: Table, dims: Dims, config: GPTConfig | None
) -> tuple[dict[str, ShardedTensor], list[str]]:
    """Return the tensors that are complete, and a line for everything that is not as it should."""
    tensors, problems, unused = {}, [], set(found)
    wholes = shapes(dims)
    for target, names in sources(table, dims.n_layer):
        unused -= set(names)
        whole = wholes[target]
        part = (*whole[:-1], whole[-1] // len(names))
        expected = _by_heads(target, config) or part
        wrong = [f"{name} is missing" for name in names if name not in found]
        parts = {name: found[name] for name in names if name in found}
        wrong += [
            f"{name} has shape {tensor.shape}, expected {expected}"
            for name, tensor in parts.items()
            if tensor.shape != expected
        ]
        if len({tensor.dtype for tensor in parts.values()}) > 1:
            wrong.append(f"{', '.join(names)} differ in their number format")
        problems += wrong
        if not wrong:
            flat = (Tensor(t.array.reshape(part), t.dtype) for t in parts.values())
            tensors[target] = ShardedTensor(tuple(flat), len(whole) - 1)
    if not dims.n_layer:
        problems.append("there are no layers")
    problems += [f"{one_line(name)} is no part of this model" for name in sorted(unused)]
    return tensors, problems


def _by_heads(target: str, config: GPTConfig | None) -> tuple[int, ...] | None:
    """Return the shape in which our own model keeps a tensor, where it is cut by heads."""
    if config is None:
        return None
    D, N, H = config.n_embd, config.n_head, config.head_size
    return {
        "attn.c_attn.weight": (D, 3, N, H),
        "attn.c_attn.bias": (3, N, H),
        "attn.c_proj.weight": (N, H, D),
    }.get(target.split(".", 2)[-1])
