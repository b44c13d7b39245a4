"""Read weights that are split over several files, with an index of the file of each tensor.

Knows the index, Hugging Face's `*.index.json`; does not know the format of the weight files.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from cpm_lm.checkpoints.tensors import Tensor
from cpm_lm.checkpoints.text import one_line
from cpm_lm.errors import CheckpointError
from cpm_lm.json_file import parse_json
from cpm_lm.languages import tr
from cpm_lm.messages import shortened

__all__ = ["read_indexed"]

Read = Callable[[Path], Mapping[str, Tensor]]


def read_indexed(
    index: Path, read: Read, rename: Callable[[str], str] = str
) -> tuple[dict[str, Tensor], tuple[Path, ...]]:
    """Read all files that an index names.

    Args:
        index: the path of the index.
        read: reads one weight file.
        rename: returns the name that `read` has for a tensor of the index.

    Returns:
        tensors: all tensors by name.
        files: the index and the files it names, sorted by name.

    Raises:
        CheckpointError: the index is damaged or names a file in another directory; files are
            missing; or tensors are not in the files that the index names: all are listed.
    """
    listed: dict[str, set[str]] = {}
    for name, file in _weight_map(index).items():
        listed.setdefault(file, set()).add(rename(name))
    names = sorted(listed)
    if missing := [name for name in names if not (index.parent / name).is_file()]:
        raise CheckpointError(
            "{parent} lacks {missing}, which {index_name} names; get the missing "
            "files from where these came from",
            parent=index.parent,
            missing=shortened(missing, ", "),
            index_name=index.name,
        )
    tensors: dict[str, Tensor] = {}
    problems = []
    for name in names:
        found = read(index.parent / name)
        indexed = listed[name]
        problems += [
            tr("{name} lacks {tensor}", name=name, tensor=one_line(tensor))
            for tensor in indexed - found.keys()
        ]
        problems += [
            tr(
                "{name} holds {tensor}, which the index does not list there",
                name=name,
                tensor=one_line(tensor),
            )
            for tensor in found.keys() - indexed
        ]
        tensors |= {tensor: found[tensor] for tensor in indexed & found.keys()}
    if problems:
        raise CheckpointError(
            "{index} does not match its files ({n_problems} problems): {problems}. "
            "Are all files from the same download?",
            index=index,
            n_problems=len(problems),
            problems=shortened(sorted(problems)),
        )
    return tensors, (index, *(index.parent / name for name in names))


def _weight_map(index: Path) -> dict[str, str]:
    """Return the file name of each tensor; every file must be in the directory of the index."""
    values = parse_json(index, CheckpointError)
    weight_map = values.get("weight_map") if isinstance(values, dict) else None
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(
            "{index} is not an index: expected file names under 'weight_map'", index=index
        )
    for file in weight_map.values():
        if not isinstance(file, str) or not _is_file_name(file):
            raise CheckpointError(
                "{index} names the file {file!r}; expected the plain name of a file "
                "beside it: the index is damaged or malicious",
                index=index,
                file=one_line(file, 80),
            )
    return weight_map


def _is_file_name(name: str) -> bool:
    """Return whether a name is a plain file name, without a directory, on any system.

    >>> _is_file_name("model-00001-of-00002.safetensors"), _is_file_name("../model.safetensors")
    (True, False)
    """
    return name.isprintable() and not set(name) & set("/\\:") and name.strip(". ") != ""
