"""Where the tensors of a model lie in a file of PyTorch, and what stands before their names.

Knows dicts and names; does not know files. Programs wrap one and the same state dict: `module.` of
a parallel model before every name, or the whole under one more key.
"""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from cpm_lm.checkpoints.containers.stand_ins import StridedTensor, class_of
from cpm_lm.checkpoints.tensors import Tensor
from cpm_lm.checkpoints.text import one_line
from cpm_lm.errors import CheckpointError
from cpm_lm.languages import tr
from cpm_lm.messages import shortened

__all__ = ["Names", "common_prefix", "find_state_dict", "stand_in_notes"]

Names = frozenset[str]
"""The names of a model of one layer, which is layer 0."""

Found = tuple[tuple[str, ...], dict[Any, Any]]
"""The keys that lead to a dict, and the dict."""
WRAPPERS = ("module", "model", "state_dict", "model_state_dict")
"""Keys that programs keep a state dict under, in the order in which they are tried."""
DEPTH = 3
"""How many dicts deep the weights may lie: CPM's own lie in the second, one more may be around."""
MAX_NAME = 512
"""Characters of a name that a model may have."""
LAYER = re.compile(r"(?<![^.])(h|layers)\.\d{1,4}\.")


def find_state_dict(root: object, known: Names, path: Path) -> dict[str, Tensor] | None:
    """Return the tensors of a model in what a file of PyTorch holds, by their names there.

    Args:
        root: what the file holds.
        known: the names such a model has.
        path: the file, for errors.

    Returns:
        None where no dict has such names.

    Raises:
        CheckpointError: several dicts could be meant, or something else than a tensor stands in
            the place of one; it is named by its class.
    """
    if not isinstance(root, dict):
        return None
    outer = _models(root, known)
    if not outer:
        return None
    usual = [pair for key in WRAPPERS for pair in outer if pair[0][-1:] == (key,)]
    if len(outer) > 1 and not usual:
        places = (one_line("/".join(where)) for where, _ in outer)
        raise CheckpointError(
            "{path} holds several models, under {places}; save the one that is meant by itself",
            path=path,
            places=shortened(places),
        )
    where, held = (usual or outer)[0]
    return _tensors(held, known, path, beside=not where)


def common_prefix(names: Iterable[str], known: Names) -> str:
    """Return what most of the names that a model has have before them.

    >>> common_prefix(["module.h.3.ln_1.bias", "module.wte.weight"], frozenset(["wte.weight"]))
    'module.'
    """
    prefixes = Counter(p for name in names if (p := _prefix(name, known)) is not None)
    return max(prefixes, key=lambda prefix: (prefixes[prefix], -len(prefix)), default="")


def stand_in_notes(file: Path, names: Iterable[str]) -> Iterator[str]:
    """Yield a note about the objects in a file that are no tensors, if there are any."""
    if listed := [one_line(name, 60) for name in names]:
        yield (
            tr(
                "{file_name} holds objects beside the weights that were not read, and "
                "nothing of them was imported or run: {listed}",
                file_name=file.name,
                listed=shortened(listed, ", "),
            )
        )


def _prefix(name: str, known: Names) -> str | None:
    """Return what stands before a known name; None where the end of the name is not known."""
    if len(name) > MAX_NAME:
        return None
    parts = name.split(".", 16)
    for at in range(len(parts)):
        if LAYER.sub(r"\1.0.", ".".join(parts[at:]), count=1) in known:
            return "".join(f"{part}." for part in parts[:at])
    return None


def _models(root: dict[Any, Any], known: Names) -> list[Found]:
    """Return the outermost dicts that hold a model, each with the keys that lead to it.

    One dict may lie in many places of a small file: each is looked at and looked into once.
    """
    prefix = functools.cache(lambda name: _prefix(name, known))
    judged: dict[int, bool] = {}
    level: list[Found] = [((), root)]
    for _ in range(DEPTH):
        found, below = [], []
        for where, held in level:
            if id(held) not in judged:
                judged[id(held)] = any(
                    isinstance(name, str)
                    and isinstance(value, StridedTensor)
                    and prefix(name) is not None
                    for name, value in held.items()
                )
                below += [
                    ((*where, key), inner)
                    for key, inner in held.items()
                    if isinstance(key, str) and isinstance(inner, dict)
                ]
            if judged[id(held)]:
                found.append((where, held))
        if found:
            return found
        level = below
    return []


def _tensors(
    held: Mapping[Any, Any], known: Names, path: Path, *, beside: bool
) -> dict[str, Tensor]:
    """Return the tensors of a dict; `beside` lets what is no tensor lie there, but in no place."""
    tensors, odd = {}, []
    for name, value in held.items():
        if isinstance(value, StridedTensor) and isinstance(name, str) and name.isprintable():
            tensors[name] = value.tensor
        elif not beside or (isinstance(name, str) and _prefix(name, known) is not None):
            odd.append(tr("{name} is {value}", name=one_line(name, 60), value=class_of(value)))
    if odd:
        raise CheckpointError(
            "{path}: among the weights these are no tensors: {odd}; expected tensors "
            "only: save the model's state_dict() again, or get it from its publisher",
            path=path,
            odd=shortened(odd),
        )
    return tensors
