"""Remove models from the home.

Knows which files a conversion wrote; does not ask. Only these files are removed: a file that
someone put beside them stays, and no link is followed out of the home.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cpm_lm.checkpoints.integrity import read_manifest
from cpm_lm.checkpoints.layouts.store import MODEL
from cpm_lm.checkpoints.manifest import MANIFEST
from cpm_lm.checkpoints.named import model_directories
from cpm_lm.errors import CheckpointError
from cpm_lm.home import BUILT_IN, is_name, models_directory

__all__ = ["Removal", "plan_removal", "remove"]


@dataclass(frozen=True, kw_only=True)
class Removal:
    """What will be removed of one model."""

    name: str
    path: str
    files: tuple[str, ...]
    """The files that were written by a conversion, the manifest last; none of a link."""
    kept: tuple[str, ...]
    """What else is in the directory, and stays."""
    bytes: int
    """The space that becomes free: files with another name elsewhere free none."""
    link: bool
    """Whether the directory is a link, which is removed alone."""


def plan_removal(names: Sequence[str]) -> list[Removal]:
    """Return what would be removed; nothing is.

    Args:
        names: names of models in the home.

    Raises:
        CheckpointError: a name is not that of a model in the home, or its directory was not
            written by a conversion.
        ConfigError: there is a file in the place of the home.
    """
    here = {path.name: path for path in model_directories()}
    for name in names:
        if name == BUILT_IN and name not in here:
            raise CheckpointError(
                "{name} is the model in the package; it cannot be removed", name=name
            )
        if not is_name(name) or name not in here:
            raise CheckpointError(
                "there is no model {name} in {models}; cpm list shows the models there, and only "
                "these are removed",
                name=name,
                models=models_directory(),
            )
    return [_plan(here[name]) for name in dict.fromkeys(names)]


def remove(planned: Removal) -> None:
    """Remove a model. After an interruption, what is left can be removed by the same name.

    Raises:
        OSError: a file cannot be removed, as when another program uses it on Windows.
    """
    path = Path(planned.path)
    if planned.link:
        path.unlink()
        return
    for name in planned.files:
        (path / name).unlink(missing_ok=True)
    if not planned.kept:
        path.rmdir()


def _plan(path: Path) -> Removal:
    plan = Removal(
        name=path.name, path=str(path), files=(), kept=(), bytes=0, link=path.is_symlink()
    )
    if plan.link:
        return plan
    there = {entry.name: entry for entry in path.iterdir()}
    written = [name for name in (*_written(path), MANIFEST) if name in there]
    sizes = [there[name].lstat() for name in written]
    return dataclasses.replace(
        plan,
        files=tuple(written),
        kept=tuple(sorted(there.keys() - set(written))),
        bytes=sum(size.st_size for size in sizes if size.st_nlink == 1),
    )


def _written(path: Path) -> list[str]:
    """Return the files that a directory's manifest names, the weights first.

    Raises:
        CheckpointError: there is no readable manifest.
    """
    try:
        record = read_manifest(path)
    except CheckpointError as error:
        raise CheckpointError(
            "{error}, or delete {path} yourself: without its manifest, cpm does not know which of "
            "the files it wrote",
            error=error,
            path=path,
        ) from None
    if record is None:
        raise CheckpointError(
            "{path} is not a converted model: it has no {manifest}, so cpm did not make it; "
            "delete the directory yourself",
            path=path,
            manifest=MANIFEST,
        )
    # A name with a folder could lead through a link; a conversion writes none.
    names = {file.name for file in record.files if "/" not in file.name}
    return sorted(names, key=lambda name: (name != MODEL, name))
