"""A checkpoint of any readable layout, as one merged model.

Knows which layouts can be read and how to recognize them; the readers know the files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cpm_lm.checkpoints.config_file import CONFIG
from cpm_lm.checkpoints.dtypes import WEIGHTS
from cpm_lm.checkpoints.layout import Dims
from cpm_lm.checkpoints.layouts.huggingface import Pretrained, find_weights, read_pretrained
from cpm_lm.checkpoints.layouts.megatron import Shards, read_shards
from cpm_lm.checkpoints.layouts.store import MODEL, Store, is_packed
from cpm_lm.checkpoints.layouts.tensorflow import EXTRA, Variables, find_variables, read_variables
from cpm_lm.checkpoints.manifest import MANIFEST, recorded_iteration
from cpm_lm.checkpoints.quantization.formats import FORMATS
from cpm_lm.checkpoints.tensors import LazyTensor
from cpm_lm.config import GPTConfig
from cpm_lm.errors import CheckpointError
from cpm_lm.tokenizer import Tokenizer

__all__ = ["Source", "open_source"]


@dataclass(frozen=True, kw_only=True)
class Source:
    """A checkpoint with validated, merged and memory-mapped tensors."""

    layout: str
    """deepspeed, megatron, huggingface, tensorflow or store."""
    directory: Path
    """The directory that the paths of `files` are relative to in a manifest."""
    files: tuple[Path, ...]
    """The files that hold weights or the configuration."""
    ranks: int
    """The number of shards."""
    iteration: int | None
    """The training step, if recorded."""
    dims: Dims
    """The dimensions that the tensors determine."""
    config: GPTConfig | None
    """The full configuration, if recorded."""
    tensors: Mapping[str, LazyTensor]
    """Every tensor, by its name in a store."""
    tokenizer: Path | None
    """The directory of the tokenizer files, if there are any beside the weights."""
    packed: str | None = None
    """How the matrices are quantized, q8 or q4; None for floats."""
    ids: Mapping[str, Any] = field(default_factory=dict)
    """Special ids by Hugging Face's names, as the configuration states them; they may be wrong."""
    ignored: tuple[str, ...] = ()
    """Tensors that are not converted: buffers and copies, not weights."""
    notes: tuple[str, ...] = ()
    """Anomalies, one line each."""
    store: Store | None = None
    """The store, if the checkpoint is one."""

    @property
    def formats(self) -> tuple[str, ...]:
        """The number formats: q8 or q4 alone, or every one of f32, f16 and bf16 that occurs."""
        if self.packed is not None:
            return (self.packed,)
        dtypes = {tensor.dtype for tensor in self.tensors.values()}
        return tuple(name for name, dtype in WEIGHTS.items() if dtype in dtypes)

    @property
    def parameters(self) -> int:
        """The number of parameters."""
        return self.dims.with_heads(1).parameter_count


def open_source(path: str | Path) -> Source:
    """Open a checkpoint of any supported layout; tensors are memory-mapped.

    Raises:
        CheckpointError: there is no readable checkpoint, or it is incomplete or inconsistent.
    """
    path = Path(path)
    if not path.exists():
        raise CheckpointError(f"{path} does not exist; expected a directory with a checkpoint")
    try:
        # A store is a Hugging Face directory with a manifest, or a quantized one. It comes first,
        # because its reader checks more.
        if (path / CONFIG).is_file() and (
            all((path / name).is_file() for name in (MANIFEST, MODEL)) or is_packed(path)
        ):
            return _from_store(Store.open(path))
        if find_weights(path):
            return _from_pretrained(read_pretrained(path))
        if saved_model := find_variables(path):
            return _from_variables(read_variables(saved_model))
        return _from_shards(path, read_shards(path))
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error


def _from_store(store: Store) -> Source:
    return Source(
        layout="store",
        directory=store.directory,
        files=(store.directory / CONFIG, store.directory / MODEL),
        ranks=1,
        iteration=recorded_iteration(store.directory),
        dims=Dims.of(store.config),
        config=store.config,
        tensors={name: store.lazy(name) for name in store.names},
        tokenizer=store.directory if store.has_tokenizer else None,
        packed=store.weights if store.weights in FORMATS else None,
        store=store,
    )


def _from_pretrained(model: Pretrained) -> Source:
    return Source(
        layout="huggingface",
        directory=model.directory,
        files=model.files,
        ranks=1,
        iteration=None,
        dims=Dims.of(model.config),
        config=model.config,
        tensors=model.tensors,
        tokenizer=model.directory if Tokenizer.files(model.directory) else None,
        ids=model.ids,
        ignored=model.ignored,
        notes=model.notes,
    )


def _from_variables(variables: Variables) -> Source:
    candidates = (variables.directory, variables.directory / EXTRA)
    return Source(
        layout="tensorflow",
        directory=variables.directory,
        files=variables.files,
        ranks=1,
        iteration=None,
        dims=variables.dims,
        config=variables.config,
        tensors=variables.tensors,
        tokenizer=next((place for place in candidates if Tokenizer.files(place)), None),
    )


def _from_shards(path: Path, shards: Shards) -> Source:
    candidates = (path, shards.directory, shards.directory.parent)
    return Source(
        layout=shards.layout,
        directory=shards.directory,
        files=shards.files,
        ranks=len(shards.files),
        iteration=shards.iteration,
        dims=shards.dims,
        config=None,
        tensors=shards.tensors,
        tokenizer=next((place for place in candidates if Tokenizer.files(place)), None),
    )
