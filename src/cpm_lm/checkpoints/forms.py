"""The forms a checkpoint can be written in, as one table.

Knows which forms there are; how each lies on disk its own module knows.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cpm_lm.checkpoints.config_file import CONFIG
from cpm_lm.checkpoints.dtypes import WEIGHTS
from cpm_lm.checkpoints.layouts.megatron_files import TRACKER
from cpm_lm.checkpoints.layouts.megatron_writer import write_megatron
from cpm_lm.checkpoints.layouts.store import MODEL, write_model
from cpm_lm.checkpoints.manifest import MANIFEST, FileRecord, digest
from cpm_lm.checkpoints.quantization.formats import FORMATS
from cpm_lm.checkpoints.source import Source
from cpm_lm.config import GPTConfig
from cpm_lm.errors import ConfigError
from cpm_lm.tokenizer import Tokenizer
from cpm_lm.tokenizer.text_style_files import RECORD, write_style

__all__ = ["FORMS", "Form", "WriteJob", "WriteResult", "form_named"]


@dataclass(frozen=True, kw_only=True)
class WriteJob:
    """What is to be written, everything about it checked."""

    source: Source
    config: GPTConfig
    weights: str
    """The number format: f32, f16, bf16, and of a store q8 and q4."""
    tokenizer: Path | None
    """The directory of the tokenizer's files, if they are to be copied."""
    text_style: Mapping[str, str]
    """The record of the text style; empty for a family that has only one."""
    ids: Mapping[str, int | None]
    """Its special ids by Hugging Face's names."""
    notes: tuple[str, ...]
    """What is odd about the source, a line each."""
    ranks: int = 1
    """How many shards to write, where the form has shards."""
    layout: str = "deepspeed"
    """How the shards lie, one of LAYOUTS."""


@dataclass(frozen=True, kw_only=True)
class WriteResult:
    """What a form wrote."""

    files: tuple[FileRecord, ...]
    errors: Mapping[str, float] = field(default_factory=dict)
    """The relative error of every matrix that was packed."""


@dataclass(frozen=True, kw_only=True)
class Form:
    """One form: how it is written, and what of it may be replaced."""

    write: Callable[[Path, WriteJob, Callable[[int], None]], WriteResult]
    """Fills an empty directory, telling the bytes of weights as they are written."""
    replaceable: Callable[[Path], bool]
    """Says whether a directory is of this form, hence may be overwritten."""
    formats: tuple[str, ...]
    """The number formats it has."""


def _write_store(directory: Path, work: WriteJob, on_bytes: Callable[[int], None]) -> WriteResult:
    sha, size = hashlib.sha256(), 0

    def written(data: memoryview) -> None:
        nonlocal size
        sha.update(data)
        size += data.nbytes
        on_bytes(data.nbytes)

    errors = write_model(
        directory, work.config, work.source.tensors, work.weights, written, ids=work.ids
    )
    files = (
        digest(directory / CONFIG, CONFIG),
        *_copy_tokenizer(directory, work),
        FileRecord(name=MODEL, bytes=size, sha256=sha.hexdigest()),
    )
    return WriteResult(files=files, errors=errors)


def _write_megatron(
    directory: Path, work: WriteJob, on_bytes: Callable[[int], None]
) -> WriteResult:
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
    return WriteResult(files=(*_copy_tokenizer(directory, work), *shards))


def _copy_tokenizer(directory: Path, work: WriteJob) -> tuple[FileRecord, ...]:
    """Copy all files of the tokenizer, and write the record of the text style."""
    names = () if work.tokenizer is None else Tokenizer.files(work.tokenizer)
    for name in names:
        shutil.copyfile(Path(str(work.tokenizer), name), directory / name)
    if work.text_style:
        write_style(directory, work.text_style)
        names = tuple(dict.fromkeys([*names, RECORD]))
    return tuple(digest(directory / name, name) for name in names)


def _is_store(directory: Path) -> bool:
    return all((directory / name).is_file() for name in (CONFIG, MODEL, MANIFEST))


def _is_megatron(directory: Path) -> bool:
    return all((directory / name).is_file() for name in (CONFIG, TRACKER, MANIFEST))


FLOATS = tuple(WEIGHTS)

FORMS = {
    "store": Form(write=_write_store, replaceable=_is_store, formats=(*FLOATS, *FORMATS)),
    # A store of floats has Hugging Face's names, layout and configuration: nothing is added.
    "huggingface": Form(write=_write_store, replaceable=_is_store, formats=FLOATS),
    "megatron": Form(write=_write_megatron, replaceable=_is_megatron, formats=FLOATS),
}
"""By what a user calls them."""


def form_named(to: str, weights: str) -> Form:
    """Return the form that a user calls `to`, which must have the number format `weights`.

    Raises:
        ConfigError: a name is unknown, or the form has no such numbers.
    """
    if to not in FORMS:
        raise ConfigError(f"to is {to!r}; expected one of {', '.join(FORMS)}")
    if weights not in FORMS[to].formats:
        where = f" with to={to!r}" if weights in FORMATS else ""
        raise ConfigError(
            f"weights is {weights!r}{where}; expected one of {', '.join(FORMS[to].formats)}"
        )
    return FORMS[to]
