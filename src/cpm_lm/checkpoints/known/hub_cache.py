"""The download cache of Hugging Face's library.

Knows its directory names: `models--owner--name` with `refs/` and `snapshots/`, links into `blobs/`.
"""

from __future__ import annotations

from pathlib import Path

from cpm_lm.checkpoints.text import one_line
from cpm_lm.errors import CheckpointError
from cpm_lm.messages import shortened

__all__ = ["downloaded"]


def downloaded(path: Path) -> Path:
    """Return the snapshot of a model in the cache; any other path unchanged.

    Raises:
        CheckpointError: it holds several models or snapshots, or none is there.
    """
    if not path.is_dir():
        return path
    models = sorted(entry for entry in path.glob("models--*") if entry.is_dir())
    if len(models) > 1:
        names = shortened((one_line(model.name, 80) for model in models), ", ")
        raise CheckpointError(
            "{path} is a cache of several models; give one of {names}", path=path, names=names
        )
    if models:
        path = models[0]
    snapshots = path / "snapshots"
    if not snapshots.is_dir() or not ((path / "refs").is_dir() or path.name.startswith("models--")):
        return path
    if (main := path / "refs" / "main").is_file():
        named = main.read_text("utf-8", "replace").strip()
        if named.isalnum() and (snapshots / named).is_dir():
            return snapshots / named
    found = sorted(entry for entry in snapshots.iterdir() if entry.is_dir())
    if len(found) == 1:
        return found[0]
    listed = shortened((one_line(entry.name, 60) for entry in found), ", ") or "none"
    raise CheckpointError(
        "{snapshots} holds several snapshots or none, and refs/main names none "
        "of them: found {listed}; give one of these directories, or download the "
        "model again",
        snapshots=snapshots,
        listed=listed,
    )
