"""The forms that a checkpoint can be written in, as a table.

Knows which forms exist and which number formats each supports; the writers know the files.
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
from cpm_lm.choices import FormName
from cpm_lm.config import GPTConfig
from cpm_lm.errors import ConfigError
from cpm_lm.languages import tr
from cpm_lm.tokenizer import Tokenizer
from cpm_lm.tokenizer.text_style_files import RECORD, write_style
from cpm_lm.tokenizer.transformers_settings import write_settings

__all__ = ["FORMS", "Form", "WriteJob", "WriteResult", "form_named"]


@dataclass(frozen=True, kw_only=True)
class WriteJob:
    """The validated input of a writer."""

    source: Source
    config: GPTConfig
    weights: str
    """The number format: f32, f16 or bf16; for a store also q8 or q4."""
    tokenizer: Path | None
    """The directory of the tokenizer files to copy; None for none."""
    text_style: Mapping[str, str]
    """The record of the text style; empty for a family that has only one."""
    ids: Mapping[str, int | None]
    """The tokenizer's special ids by Hugging Face's names."""
    notes: tuple[str, ...]
    """Anomalies of the source, one line each."""
    ranks: int = 1
    """The number of shards, if the form has shards."""
    layout: str = "deepspeed"
    """The directory layout of the shards."""


@dataclass(frozen=True, kw_only=True)
class WriteResult:
    """What a writer wrote."""

    files: tuple[FileRecord, ...]
    errors: Mapping[str, float] = field(default_factory=dict)
    """The relative error of every quantized matrix."""


@dataclass(frozen=True, kw_only=True)
class Form:
    """One form that a checkpoint can be written in."""

    write: Callable[[Path, WriteJob, Callable[[int], None]], WriteResult]
    """Writes into an empty directory; reports the bytes of weights as they are written."""
    replaceable: Callable[[Path], bool]
    """Whether a directory already has this form and may be overwritten."""
    formats: tuple[str, ...]
    """The number formats it supports."""


def _write_store(directory: Path, job: WriteJob, on_bytes: Callable[[int], None]) -> WriteResult:
    sha, size = hashlib.sha256(), 0

    def update(data: memoryview) -> None:
        nonlocal size
        sha.update(data)
        size += data.nbytes
        on_bytes(data.nbytes)

    errors = write_model(
        directory, job.config, job.source.tensors, job.weights, update, ids=job.ids
    )
    files = (
        digest(directory / CONFIG, CONFIG),
        *_copy_tokenizer(directory, job),
        FileRecord(name=MODEL, bytes=size, sha256=sha.hexdigest()),
    )
    return WriteResult(files=files, errors=errors)


def _write_megatron(directory: Path, job: WriteJob, on_bytes: Callable[[int], None]) -> WriteResult:
    shards = write_megatron(
        directory,
        job.config,
        job.source.tensors,
        job.weights,
        ranks=job.ranks,
        layout=job.layout,
        iteration=job.source.iteration,
        on_bytes=on_bytes,
    )
    return WriteResult(files=(*_copy_tokenizer(directory, job), *shards))


def _copy_tokenizer(directory: Path, job: WriteJob) -> tuple[FileRecord, ...]:
    """Copy all files of the tokenizer; write the text style, and the settings for transformers."""
    names = () if job.tokenizer is None else Tokenizer.files(job.tokenizer)
    for name in names:
        shutil.copyfile(Path(str(job.tokenizer), name), directory / name)
    if job.text_style:
        write_style(directory, job.text_style)
        names = (*names, RECORD)
    names = tuple(dict.fromkeys([*names, write_settings(directory)]))
    return tuple(digest(directory / name, name) for name in names)


def _is_store(directory: Path) -> bool:
    return all((directory / name).is_file() for name in (CONFIG, MODEL, MANIFEST))


def _is_megatron(directory: Path) -> bool:
    return all((directory / name).is_file() for name in (CONFIG, TRACKER, MANIFEST))


FLOAT_FORMATS = tuple(WEIGHTS)

FORMS: dict[FormName, Form] = {
    "store": Form(write=_write_store, replaceable=_is_store, formats=(*FLOAT_FORMATS, *FORMATS)),
    # A float store already has Hugging Face's names, layout and configuration.
    "huggingface": Form(write=_write_store, replaceable=_is_store, formats=FLOAT_FORMATS),
    "megatron": Form(write=_write_megatron, replaceable=_is_megatron, formats=FLOAT_FORMATS),
}
"""Forms by the user's name for them."""


def form_named(to: str, weights: str) -> Form:
    """Return the form named `to`; it must support the number format `weights`.

    Raises:
        ConfigError: a name is unknown, or the form does not support the number format.
    """
    if to not in FORMS:
        raise ConfigError("to is {to!r}; expected one of {forms}", to=to, forms=", ".join(FORMS))
    if weights not in FORMS[to].formats:
        where = tr(" with to={to!r}", to=to) if weights in FORMATS else ""
        raise ConfigError(
            "weights is {weights!r}{where}; expected one of {formats}",
            weights=weights,
            where=where,
            formats=", ".join(FORMS[to].formats),
        )
    return FORMS[to]
