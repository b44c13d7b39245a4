"""The card of a converted model: what its directory records.

Knows the manifest and the configuration; does not read weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cpm_lm.checkpoints.config_file import CONFIG, read_config
from cpm_lm.checkpoints.forms import FORMS
from cpm_lm.checkpoints.installed import InstalledModel, describe
from cpm_lm.checkpoints.integrity import damaged, read_manifest
from cpm_lm.checkpoints.manifest import MANIFEST, FileRecord, Manifest
from cpm_lm.config import GPTConfig
from cpm_lm.errors import CheckpointError
from cpm_lm.json_file import parse_json
from cpm_lm.languages import tr

__all__ = ["Card", "read_card"]


@dataclass(frozen=True, kw_only=True)
class Card:
    """What is recorded of a converted model."""

    model: InstalledModel
    config: GPTConfig
    manifest: Manifest


def read_card(path: Path) -> Card:
    """Read what is recorded of a converted model.

    Args:
        path: its directory.

    Raises:
        CheckpointError: it is not a converted model, or its records are damaged.
    """
    if not path.is_dir() or read_manifest(path) is None:
        raise CheckpointError(
            "{path} is not a converted model: it has no {manifest}; cpm inspect describes the "
            "files of any checkpoint",
            path=path,
            manifest=MANIFEST,
        )
    return Card(
        model=describe(path.absolute().name, path.absolute()),
        config=read_config(path / CONFIG),
        manifest=_read(path / MANIFEST),
    )


def _read(path: Path) -> Manifest:
    """Return the whole manifest; older ones lack fields."""
    values = parse_json(path, CheckpointError)
    try:
        return Manifest(
            tool=_text(values.get("tool")),
            layout=_text(values.get("layout")),
            ranks=int(values.get("ranks", 1)),
            iteration=values.get("iteration"),
            weights=_format(values["weights"]),
            parameters=int(values["parameters"]),
            sources=tuple(_file(entry) for entry in values.get("sources", ())),
            files=tuple(_file(entry) for entry in values["files"]),
            rounding=values.get("rounding"),
            errors={str(name): float(error) for name, error in values.get("errors", {}).items()},
            ignored=tuple(map(str, values.get("ignored", ()))),
            notes=tuple(map(str, values.get("notes", ()))),
            origin=values.get("origin"),
        )
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise damaged(path, error) from None


def _format(value: Any) -> str:
    if value not in FORMS["store"].formats:
        raise ValueError(tr("weights is {value!a}", value=value))
    return str(value)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else "?"


def _file(entry: Any) -> FileRecord:
    return FileRecord(
        name=str(entry["name"]), bytes=int(entry["bytes"]), sha256=str(entry["sha256"])
    )
