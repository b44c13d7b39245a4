"""The files that Hugging Face's GPT-2 keeps its weights in, and which reader each has.

Knows the files' names and endings; the formats have their own modules. Does not know which tensors
a model must have, but the names by which it is found in a file of PyTorch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from cpm_lm.checkpoints.containers.keras_h5 import pytorch_name, read_keras_h5
from cpm_lm.checkpoints.containers.safetensors_file import read_safetensors
from cpm_lm.checkpoints.containers.stand_ins import StridedTensor, class_of
from cpm_lm.checkpoints.containers.torch_file import read_torch_file
from cpm_lm.checkpoints.containers.weight_index import read_indexed
from cpm_lm.checkpoints.layout import rows
from cpm_lm.checkpoints.layouts.state_dict import Names, find_state_dict, stand_in_notes
from cpm_lm.checkpoints.layouts.store import MODEL
from cpm_lm.checkpoints.tensors import Tensor
from cpm_lm.checkpoints.text import one_line
from cpm_lm.errors import CheckpointError
from cpm_lm.languages import tr
from cpm_lm.messages import shortened

__all__ = ["FORMS", "LM_HEAD", "NAMES", "WeightFiles", "find_weights", "is_weights", "read_weights"]

LM_HEAD = "lm_head.weight"
NAMES: Names = frozenset([LM_HEAD, *(row.name for row in rows(1))])
"""The names of the tensors of one layer, and of the output matrix."""

Found = tuple[Mapping[str, Tensor], tuple[Path, ...]]


@dataclass(frozen=True)
class WeightFiles:
    """The tensors of a model, as its files name them."""

    tensors: Mapping[str, Tensor]
    files: tuple[Path, ...]
    notes: tuple[str, ...]
    """What is odd, a line each."""


def find_weights(directory: Path) -> str | None:
    """Return the name of the file of weights, or of their index, that is read there, if any."""
    return next((name for name in READERS if (directory / name).is_file()), None)


def is_weights(path: Path) -> bool:
    """Say whether a file's name is that of a file of weights."""
    return path.suffix.lower() in ENDINGS or path.name in READERS


def read_weights(path: Path) -> WeightFiles:
    """Read a file of weights, or all that an index names.

    Raises:
        CheckpointError: a file is missing or damaged, or holds no tensors by name.
    """
    notes: list[str] = []
    reader = READERS.get(path.name) or ENDINGS[path.suffix.lower()]
    tensors, files = reader(path, notes)
    return WeightFiles(tensors, files, tuple(dict.fromkeys(notes)))


def _bin(path: Path, notes: list[str]) -> dict[str, Tensor]:
    """Return the tensors of one file of torch.save."""
    stand_ins: list[str] = []
    root = read_torch_file(path, stand_ins.append)
    found = find_state_dict(root, NAMES, path)
    if found is None and isinstance(root, dict) and root:
        # A part of a model may hold only what has no name in the table, such as buffers.
        odd = [
            name
            for name, value in root.items()
            if not (isinstance(name, str) and isinstance(value, StridedTensor))
        ]
        found = None if odd else {name: value.tensor for name, value in root.items()}
    if found is None:
        raise CheckpointError(
            "{path} holds {root}{keys}; expected a dictionary of tensors by GPT-2's "
            "names, by itself or under one more key: save model.state_dict(), not "
            "the model itself",
            path=path,
            root=class_of(root),
            keys=_keys(root),
        )
    notes += stand_in_notes(path, stand_ins)
    return found


def _keys(root: object) -> str:
    if not isinstance(root, dict):
        return ""
    held = (f"{one_line(key, 60)} ({class_of(value)})" for key, value in root.items())
    return tr(" of {held}", held=shortened(held, ", ") or "nothing")


def _one(read: Callable[[Path], Mapping[str, Tensor]]) -> Callable[[Path, list[str]], Found]:
    return lambda path, _: (read(path), (path,))


READERS: dict[str, Callable[[Path, list[str]], Found]] = {
    MODEL: _one(read_safetensors),
    f"{MODEL}.index.json": lambda path, _: read_indexed(path, read_safetensors),
    "pytorch_model.bin": lambda path, notes: (_bin(path, notes), (path,)),
    "pytorch_model.bin.index.json": lambda path, notes: read_indexed(
        path, lambda part: _bin(part, notes)
    ),
    "tf_model.h5": _one(read_keras_h5),
    "tf_model.h5.index.json": lambda path, _: read_indexed(path, read_keras_h5, pytorch_name),
}
"""By the name of the file of weights; of several, the first that is there is read."""
FORMS = tuple(READERS)

ENDINGS: dict[str, Callable[[Path, list[str]], Found]] = {
    ".safetensors": READERS[MODEL],
    ".h5": READERS["tf_model.h5"],
    **dict.fromkeys((".bin", ".pt", ".pth", ".ckpt"), READERS["pytorch_model.bin"]),
}
"""By the ending of a file of another name."""
