"""A checkpoint of any readable layout, as one merged model.

Knows which layouts can be read and how to recognize them; the readers know the files.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from cpm_lm.checkpoints.config_file import CONFIG
from cpm_lm.checkpoints.dtypes import WEIGHTS
from cpm_lm.checkpoints.known.hub_cache import downloaded
from cpm_lm.checkpoints.layout import Dims
from cpm_lm.checkpoints.layouts.huggingface import Pretrained, read_pretrained
from cpm_lm.checkpoints.layouts.megatron import Shards, is_one_shard, read_shards
from cpm_lm.checkpoints.layouts.megatron_files import is_checkpoint_file
from cpm_lm.checkpoints.layouts.pretrained_files import find_weights, is_weights
from cpm_lm.checkpoints.layouts.store import MODEL, Store, is_packed
from cpm_lm.checkpoints.layouts.tensorflow import EXTRA, Variables, find_variables, read_variables
from cpm_lm.checkpoints.manifest import MANIFEST, recorded_iteration, recorded_origin
from cpm_lm.checkpoints.named import model_path
from cpm_lm.checkpoints.quantization.formats import FORMATS
from cpm_lm.checkpoints.tensors import FirstRows, LazyTensor
from cpm_lm.checkpoints.unreadable import refuse_unreadable
from cpm_lm.choices import TextStyleName
from cpm_lm.config import GPTConfig
from cpm_lm.errors import CheckpointError
from cpm_lm.escaping import escaped
from cpm_lm.languages import tr
from cpm_lm.tokenizer import Tokenizer

__all__ = ["Source", "open_source", "trimmed"]

EMBEDDING = "wte.weight"
PART = re.compile(r"(.+)-\d{5}-of-\d{5}(\.\w+)")
"""The name of one of several weight files, which an index names."""


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
    heads: int | None = None
    """The number of heads by which queries, keys and values were separated, if they were."""
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
    trimmed: bool = False
    """Whether rows of the word embedding without a piece were cut."""
    store: Store | None = None
    """The store, if the checkpoint is one."""
    origin: str | None = None
    """Where the weights were published, if known; see `Manifest`."""

    @property
    def formats(self) -> tuple[str, ...]:
        """The number formats: q8 or q4 alone, or every one of f32, f16 and bf16 that occurs.

        float64, which no store has, counts as f32.
        """
        if self.packed is not None:
            return (self.packed,)
        found = {tensor.dtype for tensor in self.tensors.values()}
        dtypes = {"F32" if dtype == "F64" else dtype for dtype in found}
        return tuple(name for name, dtype in WEIGHTS.items() if dtype in dtypes)

    @property
    def text_style(self) -> TextStyleName | None:
        """The text style, known or assumed; None without a tokenizer or for CPM's.

        Raises:
            TokenizerError: the tokenizer is damaged.
        """
        if self.tokenizer is None:
            return None
        return cast("TextStyleName", Tokenizer.load(self.tokenizer).text_style) or None

    @property
    def parameters(self) -> int:
        """The number of parameters."""
        return self.dims.with_heads(1).parameter_count


def open_source(path: str | Path, *, heads: int | None = None) -> Source:
    """Open a checkpoint of any supported layout; tensors are memory-mapped.

    Args:
        path: a directory, a file of weights, a model's directory in Hugging Face's cache, or the
            name of a model, see `model_path`.
        heads: the number of attention heads, by which newer Megatron shards keep queries, keys
            and values; default: what the shards say.

    Raises:
        CheckpointError: there is no readable checkpoint, or it is incomplete or inconsistent.
    """
    path = model_path(path)
    try:
        source = _opened(downloaded(path), heads)
    except OSError as error:
        raise CheckpointError(
            "{path} cannot be read: {strerror}", path=path, strerror=error.strerror or error
        ) from error
    notes = [escaped(note) for note in source.notes]
    if any(tensor.dtype == "F64" for tensor in source.tensors.values()):
        notes.append(tr("weights in float64 are rounded to the number format that is written"))
    ignored = tuple(escaped(name) for name in source.ignored)
    return replace(source, notes=tuple(notes), ignored=ignored)


def trimmed(source: Source, pieces: int) -> Source:
    """Return a checkpoint without the rows of the word embedding that are beyond the vocabulary.

    Megatron pads the embedding, and every tool that converts its files keeps the padding.
    """
    rows = source.dims.vocab_size
    if pieces >= rows:
        return source
    cut = FirstRows(source.tensors[EMBEDDING], pieces)
    note = tr(
        "the word embedding was cut from {rows:,} to {pieces:,} rows: the rest had no piece",
        rows=rows,
        pieces=pieces,
    )
    return replace(
        source,
        dims=replace(source.dims, vocab_size=pieces),
        tensors={**source.tensors, EMBEDDING: cut},
        trimmed=True,
        notes=(*source.notes, note),
        store=None,
    )


def _opened(path: Path, heads: int | None) -> Source:
    if path.is_file() and (path.parent / CONFIG).is_file() and path.name in (CONFIG, MANIFEST):
        path = path.parent
    if path.is_file() and path.name == MODEL and (path.parent / MANIFEST).is_file():
        path = path.parent  # a store's, which is not read without its record
    if part := PART.fullmatch(path.name):
        index = path.with_name(f"{part[1]}{part[2]}.index.json")
        path = index if index.is_file() else path
    if path.is_dir():
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
    refuse_unreadable(path)
    if (
        path.is_file()
        and is_weights(path)
        and not is_checkpoint_file(path.name)
        and not is_one_shard(path)
    ):
        return _from_pretrained(read_pretrained(path))
    return _from_shards(path, read_shards(path, heads))


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
        origin=recorded_origin(store.directory),
    )


def _from_pretrained(model: Pretrained) -> Source:
    return Source(
        layout="huggingface",
        directory=model.directory,
        files=model.files,
        ranks=1,
        iteration=None,
        dims=model.dims,
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
    candidates = (
        path if path.is_dir() else path.parent,
        shards.directory,
        shards.directory.parent,
    )
    return Source(
        layout=shards.layout,
        directory=shards.directory,
        files=shards.files,
        ranks=len(shards.files),
        iteration=shards.iteration,
        dims=shards.dims,
        config=None,
        heads=shards.heads,
        tensors=shards.tensors,
        tokenizer=next((place for place in candidates if Tokenizer.files(place)), None),
        notes=shards.notes,
    )
