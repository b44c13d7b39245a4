"""Describe a checkpoint or a store, without converting or running it.

Knows what an opened checkpoint contains; does not know the published digests, which are in
`checkpoints.known`, or how engines use memory, which is in `engines.footprint`.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cpm_lm.checkpoints.config_file import CONFIG
from cpm_lm.checkpoints.known.config_quirks import quirks
from cpm_lm.checkpoints.known.heads import CPM_LARGE, KNOWN_HEADS, LARGE_WIDTH
from cpm_lm.checkpoints.known.releases import known_release
from cpm_lm.checkpoints.manifest import read_chunks
from cpm_lm.checkpoints.source import Source, open_source
from cpm_lm.display import fields_on_a_line
from cpm_lm.engines.footprint import EngineMemory, engine_memory
from cpm_lm.errors import TokenizerError
from cpm_lm.languages import tr
from cpm_lm.tokenizer import Tokenizer

__all__ = ["Inspection", "WeightFile", "inspect"]


@dataclass(frozen=True, kw_only=True)
class WeightFile:
    """One file of a checkpoint."""

    name: str
    """The path relative to the checkpoint's directory."""
    bytes: int
    sha1: str | None
    """None if digests were not requested."""
    md5: str | None


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """The description of a checkpoint or a store."""

    path: str
    layout: str
    """deepspeed, megatron, huggingface, tensorflow or store."""
    ranks: int
    """The number of shards."""
    iteration: int | None
    """The training step, if recorded."""
    vocab_size: int
    n_positions: int
    n_embd: int
    n_layer: int
    n_head: int | None
    """None if it is not recorded and no published model has this width."""
    parameters: int
    """The number of parameters."""
    weights: str
    """The number format: f32, f16, bf16, q8 or q4; several are separated by commas."""
    tokenizer: bool
    """Whether there are tokenizer files beside the weights."""
    text_style: str | None
    """The text style, see `ConvertOptions`; None without a usable vocabulary, or for CPM's, which
    has only one."""
    text_style_evidence: str | None
    """How the text style is known, or "assumed"."""
    files: tuple[WeightFile, ...]
    release: str | None
    """The published checkpoint with the same digests; None if there is none."""
    origin: str | None
    """Where the weights were published, as a converted model's manifest records it."""
    memory: tuple[EngineMemory, ...]
    """The memory that each engine needs, after conversion to a store in the same number format."""
    ignored: tuple[str, ...]
    """Tensors that a conversion ignores: buffers and copies, not weights."""
    warnings: tuple[str, ...]
    """Anomalies, one line each."""

    __repr__ = fields_on_a_line

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return dataclasses.asdict(self)


def inspect(
    path: str | Path,
    *,
    digests: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> Inspection:
    """Describe a checkpoint or a store.

    Args:
        path: any path that `convert` accepts as its source.
        digests: whether to compute digests, which takes a few seconds for each gigabyte. Without
            them a known release is not recognized.
        progress: called with the bytes read and the total.

    Raises:
        CheckpointError: there is no readable checkpoint, or it is incomplete or inconsistent.
    """
    source = open_source(path)
    total = sum(file.stat().st_size for file in source.files)
    files: list[WeightFile] = []
    for file in source.files:
        done = sum(known.bytes for known in files)
        files.append(_weight_file(file, source.directory, digests, done, total, progress))
    found = [(str(file.sha1), str(file.md5)) for file in files if file.name != CONFIG]
    release, warnings = known_release(found)
    words, problems = _tokenizer(source)
    heads = source.config.n_head if source.config else KNOWN_HEADS.get(source.dims.n_embd)
    return Inspection(
        path=str(path),
        layout=source.layout,
        ranks=source.ranks,
        iteration=source.iteration,
        **dataclasses.asdict(source.dims),
        n_head=heads,
        parameters=source.parameters,
        weights=", ".join(source.formats),
        tokenizer=source.tokenizer is not None,
        text_style=(words.text_style or None) if words else None,
        text_style_evidence=_evidence(words),
        files=tuple(files),
        release=release,
        origin=source.origin,
        memory=engine_memory(source.dims, source.formats[0]),
        ignored=source.ignored,
        warnings=(*warnings, *_warnings(source, heads), *problems, *_quirks(source, words)),
    )


def _weight_file(
    path: Path,
    directory: Path,
    digests: bool,
    done: int,
    total: int,
    progress: Callable[[int, int], None] | None,
) -> WeightFile:
    sha1, md5 = (hashlib.new(name, usedforsecurity=False) for name in ("sha1", "md5"))
    for chunk in read_chunks(path) if digests else ():
        sha1.update(chunk)
        md5.update(chunk)
        done += len(chunk)
        if progress is not None:
            progress(done, total)
    return WeightFile(
        name=path.relative_to(directory).as_posix(),
        bytes=path.stat().st_size,
        sha1=sha1.hexdigest() if digests else None,
        md5=md5.hexdigest() if digests else None,
    )


def _warnings(source: Source, heads: int | None) -> list[str]:
    width, parameters = source.dims.n_embd, source.parameters
    warnings = []
    if heads is None:
        warnings.append(
            tr(
                "the files do not record how many attention heads a model of width "
                "{width} has; give the number when you convert it",
                width=width,
            )
        )
    elif heads % source.ranks:
        warnings.append(
            tr(
                "{heads} heads cannot have been split over {ranks} ranks",
                heads=heads,
                ranks=source.ranks,
            )
        )
    if width == LARGE_WIDTH and parameters != CPM_LARGE:
        warnings.append(
            tr(
                "the width is CPM-LM's, but there are {parameters:,} parameters, "
                "expected {cpm_large:,}",
                parameters=parameters,
                cpm_large=CPM_LARGE,
            )
        )
    warnings += source.notes
    return warnings


def _quirks(source: Source, words: Tokenizer | None) -> Iterator[str]:
    if source.config is not None:
        yield from quirks(source.config, source.ids, words)


def _tokenizer(source: Source) -> tuple[Tokenizer | None, list[str]]:
    """Return the tokenizer beside the weights, and warnings about it."""
    if source.tokenizer is None:
        return None, []
    try:
        words = Tokenizer.load(source.tokenizer)
    except TokenizerError as error:
        return None, [str(error)]
    return words, [words.note] if words.note else []


def _evidence(words: Tokenizer | None) -> str | None:
    if words is None or not words.text_style:
        return None
    return words.text_style_evidence or "assumed"
