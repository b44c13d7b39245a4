"""The models in the home: what their records say, without reading weights.

Knows manifests and sizes of files; does not know what is in the weights, which `verify` checks.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cpm_lm.checkpoints.integrity import ManifestRecord, read_manifest, size_problem
from cpm_lm.checkpoints.known.published import license_of
from cpm_lm.checkpoints.manifest import MANIFEST, recorded_origin
from cpm_lm.checkpoints.named import model_directories
from cpm_lm.errors import CheckpointError
from cpm_lm.home import BUILT_IN, DEMO
from cpm_lm.languages import tr
from cpm_lm.tokenizer import Tokenizer
from cpm_lm.tokenizer.text_style_files import RECORD

__all__ = ["InstalledModel", "describe", "installed_models"]

CPM_FILES = frozenset({"chinese_vocab.model", "spiece.model"})


@dataclass(frozen=True, kw_only=True)
class InstalledModel:
    """A model that can be called by name."""

    name: str
    path: str
    built_in: bool
    """Whether it is the model in the package."""
    weights: str | None
    """The number format: f32, f16, bf16, q8 or q4."""
    parameters: int | None
    bytes: int
    """The size of its files."""
    tokenizer: str | None
    """The family of the vocabulary, CPM or BERT; None for a model that has none."""
    text_style: str | None
    """The recorded text style; None for CPM's vocabulary, which has only one."""
    made: str | None
    """When the model was written, in UTC (ISO 8601)."""
    tool: str | None
    """The program that wrote it."""
    origin: str | None
    """Where the weights were published, if recorded."""
    license: str | None
    """The license of the weights, if its publisher states one that is known here."""
    problem: str | None
    """Why it cannot be used; None if its files are all there, in their sizes."""


def installed_models() -> list[InstalledModel]:
    """Return the built-in model, then those in the home by name; damaged ones have a problem.

    Raises:
        ConfigError: there is a file in the place of the home.
    """
    found = [describe(path.name, path) for path in model_directories()]
    if DEMO.is_dir() and BUILT_IN not in {model.name for model in found}:
        return [describe(BUILT_IN, DEMO), *found]
    return found


def describe(name: str, path: Path) -> InstalledModel:
    """Return what the records of a directory say; it may be damaged, or no model."""
    record, problem = _record(path)
    origin = recorded_origin(path)
    return InstalledModel(
        name=name,
        path=str(path),
        built_in=path == DEMO,
        weights=record.weights if record else None,
        parameters=record.parameters if record else None,
        bytes=_bytes(path),
        tokenizer=_tokenizer(path),
        text_style=_text_style(path),
        made=_made(path),
        tool=record.tool if record else None,
        origin=origin,
        license=license_of(origin),
        problem=problem,
    )


def _record(path: Path) -> tuple[ManifestRecord | None, str | None]:
    """Return a directory's manifest and what is wrong with the files that it names."""
    if not path.is_dir():
        return None, tr("a link to a directory that does not exist")
    try:
        record = read_manifest(path)
    except CheckpointError as error:
        return None, str(error)
    if record is None:
        return None, tr("not a converted model: it has no {manifest}", manifest=MANIFEST)
    problems = (
        f"{file.name} {problem}" for file in record.files if (problem := size_problem(path, file))
    )
    return record, next(problems, None)


def _bytes(path: Path) -> int:
    try:
        return sum(entry.stat().st_size for entry in path.iterdir() if entry.is_file())
    except OSError:  # no permission, which the problem says
        return 0


def _tokenizer(path: Path) -> str | None:
    try:
        files = Tokenizer.files(path)
    except OSError:
        return None
    return ("CPM" if CPM_FILES.intersection(files) else "BERT") if files else None


def _text_style(path: Path) -> str | None:
    try:
        style = json.loads((path / RECORD).read_text("utf-8"))["text_style"]
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None
    return style if isinstance(style, str) and style.isprintable() else None


def _made(path: Path) -> str | None:
    """Return when the manifest was written, which is the last file of a conversion."""
    try:
        seconds = (path / MANIFEST).stat().st_mtime
    except OSError:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
