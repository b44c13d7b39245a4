"""Weights cut into several files, with an index that says which tensor lies in which.

Knows the index, which is Hugging Face's `*.index.json`; the files' own formats have their modules.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

from cpm_lm.checkpoints.tensors import Tensor
from cpm_lm.checkpoints.text import one_line
from cpm_lm.errors import CheckpointError

__all__ = ["read_indexed"]

Read = Callable[[Path], Mapping[str, Tensor]]


def read_indexed(index: Path, read: Read) -> tuple[dict[str, Tensor], tuple[Path, ...]]:
    """Read all the files an index names.

    Args:
        index: the index.
        read: reads one file of weights.

    Returns:
        tensors: all tensors, by name.
        files: the index and the files it names, in order of their names.

    Raises:
        CheckpointError: the index is damaged or names a file elsewhere; files are missing; or the
            tensors do not lie where it says: all of them are named.
    """
    places = _places(index)
    names = sorted(set(places.values()))
    if missing := [name for name in names if not (index.parent / name).is_file()]:
        raise CheckpointError(
            f"{index.parent} lacks {', '.join(missing)}, which {index.name} names; "
            "get the missing files from where these came from"
        )
    tensors: dict[str, Tensor] = {}
    problems = []
    for name in names:
        held = read(index.parent / name)
        said = {tensor for tensor, place in places.items() if place == name}
        problems += [f"{name} lacks {one_line(tensor)}" for tensor in said - held.keys()]
        problems += [
            f"{name} holds {one_line(tensor)}, which the index does not place there"
            for tensor in held.keys() - said
        ]
        tensors |= {tensor: held[tensor] for tensor in said & held.keys()}
    if problems:
        raise CheckpointError(
            f"{index} does not fit its files ({len(problems)} problems): "
            f"{'; '.join(sorted(problems))}. Are all files from the same download?"
        )
    return tensors, (index, *(index.parent / name for name in names))


def _places(index: Path) -> dict[str, str]:
    """Return the name of the file of each tensor; every file lies beside the index."""
    try:
        values = json.loads(index.read_text("utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{index} cannot be read: {one_line(error)}") from None
    places = values.get("weight_map") if isinstance(values, dict) else None
    if not isinstance(places, dict) or not places:
        raise CheckpointError(f"{index} is no index: expected file names under 'weight_map'")
    for place in places.values():
        if not isinstance(place, str) or not _is_plain(place):
            raise CheckpointError(
                f"{index} names the file {one_line(place, 80)!r}; expected the plain name of a "
                "file beside it: the index is damaged or was made to mislead"
            )
    return places


def _is_plain(name: str) -> bool:
    """Say whether a name is that of a file in the same directory, on any system."""
    return name.isprintable() and not set(name) & set("/\\:") and name.strip(". ") != ""
