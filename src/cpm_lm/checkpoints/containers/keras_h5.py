"""`tf_model.h5`, the weights of Hugging Face's TensorFlow GPT-2, as mapped views.

Knows the names and shapes in these files; h5py finds the numbers, which are read in place.
Source: modeling_tf_gpt2.py and TFConv1D of transformers 2 to 4.
"""

from __future__ import annotations

import mmap
import re
from pathlib import Path
from typing import Any

import numpy as np

from cpm_lm.checkpoints.tensors import Tensor
from cpm_lm.checkpoints.text import one_line
from cpm_lm.errors import CheckpointError

__all__ = ["read_keras_h5"]

DTYPES = {"<f4": "F32", "<f2": "F16"}

# How the end of a path in the file, `:0` taken off, becomes a name in PyTorch's files. What stands
# before it are the names of the model's class and of its main layer, which differ by version.
NAMES = (
    (r"wte/(?:weight|embeddings)", "wte.weight"),
    (r"wpe/(?:weight|embeddings)", "wpe.weight"),
    (r"ln_f/gamma", "ln_f.weight"),
    (r"ln_f/beta", "ln_f.bias"),
    (r"h_\._(\d{1,4})/(ln_[12])/gamma", r"h.\1.\2.weight"),
    (r"h_\._(\d{1,4})/(ln_[12])/beta", r"h.\1.\2.bias"),
    (r"h_\._(\d{1,4})/(attn|mlp)/(c_attn|c_fc|c_proj)/(weight|bias)", r"h.\1.\2.\3.\4"),
)
PATTERNS = tuple((re.compile(rf"(?:.*/)?{pattern}"), name) for pattern, name in NAMES)


def read_keras_h5(path: Path) -> dict[str, Tensor]:
    """Return every tensor by the name it has in PyTorch's files, or else by its path in this one.

    A bias, kept there as [1, n], is returned as [n].

    Raises:
        CheckpointError: h5py is not installed; the file is damaged, or keeps its numbers otherwise
            than Keras does.
    """
    try:
        import h5py
    except ImportError:
        raise CheckpointError(f"{path} needs h5py: pip install 'cpm-lm[h5]'") from None
    found: list[tuple[str, Any]] = []
    try:
        with path.open("rb") as opened:
            mapped = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
        with h5py.File(path, "r") as file:
            # Links out of the file are not followed by this.
            file.visititems(lambda name, item: found.append((name, item)))
            sets = [(name, item) for name, item in found if isinstance(item, h5py.Dataset)]
            named = [(_name(name), _place(path, mapped, name, item)) for name, item in sets]
    except CheckpointError:
        raise
    except Exception as error:  # a damaged file makes h5py raise nearly every kind
        raise CheckpointError(f"{path} is damaged: {one_line(error)}; download it again") from None
    if len(dict(named)) < len(named):
        names = [name for name, _ in named]
        twice = min(name for name in names if names.count(name) > 1)
        raise CheckpointError(f"{path} holds {one_line(twice)} twice; it is not one model")
    return dict(named)


def _name(path: str) -> str:
    path = path.removesuffix(":0")
    for pattern, name in PATTERNS:
        if match := pattern.fullmatch(path):
            return match.expand(name)
    return path


def _place(path: Path, mapped: mmap.mmap, name: str, data: Any) -> Tensor:
    """Return a view of a data set's numbers, which must lie in one piece in this very file."""
    offset, dtype = data.id.get_offset(), DTYPES.get(data.dtype.str)
    if dtype is None or offset is None or offset + data.id.get_storage_size() > len(mapped):
        how = "not in one piece in the file" if dtype else f"of the kind {data.dtype.str}"
        raise CheckpointError(
            f"{path}: {one_line(name)} is {how}; expected float32 or float16 numbers, "
            "uncompressed, as Keras writes them"
        )
    if data.id.get_storage_size() != data.size * data.dtype.itemsize:
        raise CheckpointError(f"{path} is damaged: the size of {one_line(name)} is not its shape's")
    array = np.ndarray(data.shape, data.dtype, mapped, offset)
    flat = array.ndim == 2 and array.shape[0] == 1 and name.removesuffix(":0").endswith("/bias")
    return Tensor(array[0] if flat else array, dtype)
