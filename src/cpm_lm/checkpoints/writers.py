"""The forms a checkpoint can be written in, as one table.

Knows which forms there are; how each lies on disk its own module knows.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from cpm_lm.checkpoints.manifest import MANIFEST, FileRecord, digest
from cpm_lm.checkpoints.megatron_writer import write_megatron
from cpm_lm.checkpoints.shard_files import TRACKER
from cpm_lm.checkpoints.source import Source
from cpm_lm.checkpoints.store import CONFIG, MODEL, write_model
from cpm_lm.config import GPTConfig
from cpm_lm.errors import ConfigError
from cpm_lm.tokenizer import Tokenizer

__all__ = ["FORMS", "Form", "Work", "form_called"]

Records = tuple[FileRecord, ...]


@dataclass(frozen=True, kw_only=True)
class Work:
    """What is to be written, everything about it checked."""

    source: Source
    config: GPTConfig
    weights: str
    """The number format, a key of WEIGHTS."""
    tokenizer: Path | None
    """The directory of the tokenizer's files, if they are to be copied."""
    ids: Mapping[str, int | None]
    """Its special ids by Hugging Face's names."""
    notes: tuple[str, ...]
    """What is odd about the source, a line each."""
    ranks: int = 1
    """How many shards to write, where the form has shards."""
    layout: str = "deepspeed"
    """How the shards lie, one of LAYOUTS."""


@dataclass(frozen=True, kw_only=True)
class Form:
    """One form: how it is written, and what of it may be replaced."""

    write: Callable[[Path, Work, Callable[[int], None]], Records]
    """Fills an empty directory, telling the bytes of weights as they are written; returns the
    record of every file."""
    replaceable: Callable[[Path], bool]
    """Says whether a directory is of this form, hence may be overwritten."""


def _write_store(directory: Path, work: Work, on_bytes: Callable[[int], None]) -> Records:
    sha, size = hashlib.sha256(), 0

    def written(data: memoryview) -> None:
        nonlocal size
        sha.update(data)
        size += data.nbytes
        on_bytes(data.nbytes)

    write_model(directory, work.config, work.source.tensors, work.weights, written, ids=work.ids)
    return (
        digest(directory / CONFIG, CONFIG),
        *_copy_tokenizer(directory, work),
        FileRecord(name=MODEL, bytes=size, sha256=sha.hexdigest()),
    )


def _write_megatron(directory: Path, work: Work, on_bytes: Callable[[int], None]) -> Records:
    shards = write_megatron(
        directory,
        work.config,
        work.source.tensors,
        work.weights,
        ranks=work.ranks,
        layout=work.layout,
        iteration=work.source.iteration,
        on_bytes=on_bytes,
    )
    return (*_copy_tokenizer(directory, work), *shards)


def _copy_tokenizer(directory: Path, work: Work) -> Records:
    names = () if work.tokenizer is None else Tokenizer.files(work.tokenizer)
    for name in names:
        shutil.copyfile(Path(str(work.tokenizer), name), directory / name)
    return tuple(digest(directory / name, name) for name in names)


def _is_store(directory: Path) -> bool:
    return all((directory / name).is_file() for name in (CONFIG, MODEL, MANIFEST))


def _is_megatron(directory: Path) -> bool:
    return all((directory / name).is_file() for name in (CONFIG, TRACKER, MANIFEST))


_STORE = Form(write=_write_store, replaceable=_is_store)

FORMS = {
    "store": _STORE,
    # A store of floats has Hugging Face's names, layout and configuration: nothing is added.
    "huggingface": _STORE,
    "megatron": Form(write=_write_megatron, replaceable=_is_megatron),
}
"""By what a user calls them."""


def form_called(to: str) -> Form:
    """Return the form that a user calls `to`.

    Raises:
        ConfigError: the name is unknown.
    """
    if to not in FORMS:
        raise ConfigError(f"to is {to!r}; expected one of {', '.join(FORMS)}")
    return FORMS[to]
