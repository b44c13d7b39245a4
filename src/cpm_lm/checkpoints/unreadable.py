"""The error for a path that no reader supports.

Knows which files the readers expect; `known/foreign` knows other programs' files.
"""

from __future__ import annotations

from pathlib import Path

from cpm_lm.checkpoints.config_file import CONFIG
from cpm_lm.checkpoints.known.foreign import recognized
from cpm_lm.checkpoints.layouts.megatron_files import holds_shards, listing
from cpm_lm.checkpoints.layouts.pretrained_files import FORMS, find_weights, is_weights
from cpm_lm.checkpoints.text import one_line
from cpm_lm.errors import CheckpointError
from cpm_lm.languages import tr
from cpm_lm.messages import shortened, what_is_there

__all__ = ["refuse_unreadable"]


def refuse_unreadable(path: Path) -> None:
    """Raise an error that says what an unsupported path holds, and what to do.

    Raises:
        CheckpointError: it is of a known kind, or has none of the expected files.
    """
    shards = holds_shards(path)
    if path.is_dir() and not shards and (below := _models_below(path)):
        raise CheckpointError(
            "{path} holds no checkpoint itself, but directories that do: give one of {below}",
            path=path,
            below=shortened((one_line(name, 60) for name in below), ", "),
        )
    if (known := recognized(path)) and (known[0].replaces_shards or not shards):
        kind, name = known
        raise CheckpointError(
            "{path} is {what} ({name}), which is not supported: {todo}",
            path=path,
            what=tr(kind.what),
            name=one_line(name, 80),
            todo=tr(kind.todo),
        )
    if path.is_file() or shards:
        return
    weights = [entry for entry in sorted(path.iterdir()) if entry.is_file() and is_weights(entry)]
    for entry in weights:
        if what := what_is_there(entry):
            raise CheckpointError("{entry} is {what}", entry=entry, what=what)
    if (path / CONFIG).is_file() or weights:
        raise CheckpointError(
            "{path} has no weights under a supported Hugging Face name: expected one "
            "of {forms}; found {listing}. {hint}",
            path=path,
            forms=", ".join(FORMS),
            listing=listing(path),
            hint=(
                tr("If these are the weights, give the file itself: {weights}", weights=weights[0])
                if weights
                else tr("Get the weights from where the configuration came from")
            ),
        )


def _models_below(path: Path) -> list[str]:
    return [
        entry.name
        for entry in sorted(path.iterdir())
        if entry.is_dir() and (entry / CONFIG).is_file() and find_weights(entry)
    ]
