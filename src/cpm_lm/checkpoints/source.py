"""A checkpoint of any readable layout, seen as one whole model.

Knows which layouts there are; the readers know how each lies on disk.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cpm_lm.checkpoints.manifest import recorded_iteration
from cpm_lm.checkpoints.mapping import Dims, Joined
from cpm_lm.checkpoints.megatron import Shards, read_shards
from cpm_lm.checkpoints.store import CONFIG, MODEL, Store
from cpm_lm.checkpoints.tensors import WEIGHTS, Tensor
from cpm_lm.checkpoints.tf_variables import EXTRA, Variables, find_variables, read_variables
from cpm_lm.config import GPTConfig
from cpm_lm.errors import CheckpointError
from cpm_lm.tokenizer import Tokenizer

__all__ = ["Source", "open_source"]


@dataclass(frozen=True, kw_only=True)
class Source:
    """A checkpoint whose tensors are checked and joined, and still lie in their files."""

    layout: str
    """deepspeed, megatron, tensorflow or store."""
    directory: Path
    """The directory that `files` are named below."""
    files: tuple[Path, ...]
    """The files that hold weights or shape."""
    ranks: int
    """The number of shards."""
    iteration: int | None
    """The training step it was written at, if the files say."""
    dims: Dims
    """The model's shape, as far as its tensors say."""
    config: GPTConfig | None
    """The whole shape, where the files say it."""
    tensors: Mapping[str, Joined]
    """Every tensor, by the names of a store."""
    tokenizer: Path | None
    """The directory of the tokenizer's files, where they lie beside the weights."""

    @property
    def parameters(self) -> int:
        """The number of trained numbers."""
        return self.dims.with_heads(1).parameter_count


def open_source(path: str | Path) -> Source:
    """Open a checkpoint: a store, a TensorFlow SavedModel, or Megatron's shards in either layout.

    Raises:
        CheckpointError: nothing readable is there, or it is incomplete or inconsistent.
    """
    path = Path(path)
    if not path.exists():
        raise CheckpointError(f"{path} does not exist; expected a directory with a checkpoint")
    try:
        if (path / MODEL).is_file() and (path / CONFIG).is_file():
            return _from_store(Store.open(path))
        if saved_model := find_variables(path):
            return _from_variables(read_variables(saved_model))
        return _from_shards(path, read_shards(path))
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error


def _from_store(store: Store) -> Source:
    dtype = WEIGHTS[store.weights]
    return Source(
        layout="store",
        directory=store.directory,
        files=(store.directory / CONFIG, store.directory / MODEL),
        ranks=1,
        iteration=recorded_iteration(store.directory),
        dims=Dims.of(store.config),
        config=store.config,
        tensors={name: Joined((Tensor(store.tensor(name), dtype),)) for name in store.names},
        tokenizer=store.directory if store.has_tokenizer else None,
    )


def _from_variables(variables: Variables) -> Source:
    beside = (variables.directory, variables.directory / EXTRA)
    return Source(
        layout="tensorflow",
        directory=variables.directory,
        files=variables.files,
        ranks=1,
        iteration=None,
        dims=variables.dims,
        config=variables.config,
        tensors=variables.tensors,
        tokenizer=next((place for place in beside if Tokenizer.files(place)), None),
    )


def _from_shards(path: Path, shards: Shards) -> Source:
    beside = (path, shards.directory, shards.directory.parent)
    return Source(
        layout=shards.layout,
        directory=shards.directory,
        files=shards.files,
        ranks=len(shards.files),
        iteration=shards.iteration,
        dims=shards.dims,
        config=None,
        tensors=shards.tensors,
        tokenizer=next((place for place in beside if Tokenizer.files(place)), None),
    )
