"""Read `tf_model.h5`, the weights of Hugging Face's TensorFlow GPT-2, as memory-mapped views.

Knows the dataset names in these files; does not know which tensors a model has. h5py gives the
offset of each dataset; the values are memory-mapped. Source: modeling_tf_gpt2.py and TFConv1D of
transformers 2 to 4.
"""

from __future__ import annotations

import mmap
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from cpm_lm.checkpoints.containers.opened import map_file
from cpm_lm.checkpoints.tensors import Tensor
from cpm_lm.checkpoints.text import one_line
from cpm_lm.errors import CheckpointError
from cpm_lm.installation import pip_install
from cpm_lm.languages import tr
from cpm_lm.messages import unreadable_kind

__all__ = ["pytorch_name", "read_keras_h5"]

MOST_OBJECTS = 20_000
"""Groups and datasets of a file; GPT-2's largest model has some 1,300."""
DEEPEST = 32
"""Groups within groups; the HDF5 library visits them recursively."""
DTYPES = {"<f8": "F64", "<f4": "F32", "<f2": "F16"}

# The end of a dataset path without `:0`, and the tensor name in PyTorch's files. The path begins
# with the names of the model class and of its main layer, which differ by version.
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
    """Return every tensor by its name in PyTorch's files, or by its path if it has no such name.

    A bias is stored as [1, n] and returned as [n].

    Raises:
        CheckpointError: h5py is not installed; the file is damaged, or its datasets are not
            contiguous float32 or float16, as Keras writes them.
    """
    try:
        import h5py
    except ImportError:
        raise CheckpointError(
            "{path} needs h5py: {command}", path=path, command=pip_install("h5")
        ) from None
    mapped = map_file(path)
    if known := unreadable_kind(mapped[:512]):
        raise CheckpointError("{path} is {known}", path=path, known=known)
    try:
        with h5py.File(path, "r") as file:
            named = [
                (pytorch_name(name), _map_dataset(path, mapped, name, item))
                for name, item in _datasets(path, file, h5py.Dataset)
            ]
    except CheckpointError:
        raise
    except Exception as error:  # h5py raises many exception types for a damaged file
        raise CheckpointError(
            "{path} is damaged: {error}; download it again", path=path, error=one_line(error)
        ) from None
    if len(dict(named)) < len(named):
        counts = Counter(name for name, _ in named)
        duplicate = min(name for name in counts if counts[name] > 1)
        raise CheckpointError(
            "{path} holds {duplicate} twice; expected one model",
            path=path,
            duplicate=one_line(duplicate),
        )
    return dict(named)


def pytorch_name(path: str) -> str:
    """Return the tensor name in PyTorch's files for a dataset path, or the path itself.

    >>> pytorch_name("tfgpt2lm_head_model/transformer/h_._0/ln_1/gamma:0")
    'h.0.ln_1.weight'
    """
    path = path.removesuffix(":0")
    for pattern, name in PATTERNS:
        if match := pattern.fullmatch(path):
            return match.expand(name)
    return path


def _datasets(path: Path, file: Any, kind: type) -> list[tuple[str, Any]]:
    """Return the datasets of a file by name, each once; links to other files are not followed."""
    found: list[tuple[str, Any]] = []
    count = 0

    def visit(name: str, item: Any) -> None:
        nonlocal count
        count += 1
        if count > MOST_OBJECTS or name.count("/") >= DEEPEST:
            raise CheckpointError(
                "{path} holds more than {most_objects:,} groups and datasets, or more "
                "than {deepest} groups within each other; it is damaged or not a GPT-2 "
                "of Keras",
                path=path,
                most_objects=MOST_OBJECTS,
                deepest=DEEPEST,
            )
        if isinstance(item, kind):
            found.append((name, item))

    file.visititems(visit)
    return found


def _map_dataset(path: Path, mapped: mmap.mmap, name: str, data: Any) -> Tensor:
    """Return a view of a dataset's values, which must be contiguous and in this file."""
    offset, dtype = data.id.get_offset(), DTYPES.get(data.dtype.str)
    if dtype is None or offset is None or offset + data.id.get_storage_size() > len(mapped):
        found_type = (
            tr("not contiguous in the file")
            if dtype
            else tr("of type {dtype}", dtype=data.dtype.str)
        )
        raise CheckpointError(
            "{path}: {name} is {found_type}; expected uncompressed float64, float32 "
            "or float16 values, as Keras writes them",
            path=path,
            name=one_line(name),
            found_type=found_type,
        )
    if data.id.get_storage_size() != data.size * data.dtype.itemsize:
        raise CheckpointError(
            "{path} is damaged: the size of {name} does not match its shape",
            path=path,
            name=one_line(name),
        )
    array = np.ndarray(data.shape, data.dtype, mapped, offset)
    is_row = array.ndim == 2 and array.shape[0] == 1 and name.removesuffix(":0").endswith("/bias")
    return Tensor(array[0] if is_row else array, dtype)
