"""What the objects of a pickle become: descriptions of tensors, or stand-ins for all else.

Knows what a tensor and a program's object are described by; does not know the pickle format. None
of these objects does anything, and none compares or hashes by its content.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cpm_lm.checkpoints.text import described, one_line
from cpm_lm.languages import tr

__all__ = [
    "Function",
    "Inert",
    "Namespace",
    "StandIn",
    "Storage",
    "StorageType",
    "StridedTensor",
    "TensorType",
    "check_sizes",
    "class_of",
]

MAX_DIMENSIONS = 64
"""PyTorch's own limit."""


class Inert:
    """Anything in a pickle that is no dictionary, list, tuple, text or number."""

    __slots__ = ()

    @property
    def known_as(self) -> str:
        """The class, as PyTorch or the pickle names it."""
        return type(self).__name__


class StandIn(Inert):
    """Stands in for a class, a function or an object of which nothing is known but the name.

    All that a pickle can do to it (call it, make an object of it, set its state, put entries in)
    gives this same object, unchanged.
    """

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    @property
    def known_as(self) -> str:
        """The name in the pickle."""
        return self.name


class Function(StandIn):
    """A class or a function of the table; what a call of it gives is computed by `build`."""

    __slots__ = ("build",)

    def __init__(self, name: str, build: Callable[[Any, tuple[Any, ...]], Any]) -> None:
        super().__init__(name)
        self.build = build


class StorageType(Inert):
    """Stands in for a class such as torch.HalfStorage."""

    __slots__ = ("dtype",)

    def __init__(self, dtype: str) -> None:
        self.dtype = dtype


class Storage(Inert):
    """A reference to an array of `count` values in the file; the saved device is ignored."""

    __slots__ = ("count", "dtype", "key")

    def __init__(self, dtype: str, key: str, count: int) -> None:
        self.dtype, self.key, self.count = dtype, key, count


class TensorType(Inert):
    """Stands in for a format such as torch.float8_e5m2, which a tensor names."""

    __slots__ = ("dtype",)

    def __init__(self, dtype: str) -> None:
        self.dtype = dtype


class StridedTensor(Inert):
    """Replaces torch.Tensor: a strided view of a storage, not yet checked against its size.

    `tensor` is None until the reader of the container sets it.
    """

    __slots__ = ("dtype", "offset", "shape", "storage", "stride", "tensor")

    def __init__(self, storage: object, offset: object, shape: object, stride: object) -> None:
        if not isinstance(storage, Storage):
            raise TypeError(tr("a tensor without a storage"))
        self.storage = storage
        self.offset = check_sizes((offset,))[0]
        self.shape, self.stride = check_sizes(shape), check_sizes(stride)
        self.dtype = storage.dtype
        self.tensor: Any = None

    @property
    def known_as(self) -> str:
        """PyTorch's name."""
        return "torch.Tensor"


class Namespace(Inert):
    """Stands in for argparse.Namespace: the whole numbers of a program's arguments."""

    __slots__ = ("values",)

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    def set_state(self, state: dict[Any, Any]) -> None:
        """Keep the whole numbers."""
        self.values = {k: v for k, v in state.items() if type(k) is str and type(v) is int}


def check_sizes(values: object) -> tuple[int, ...]:
    """Return the values if they are a short tuple of integers from 0 to 2**63; else raise."""
    if not isinstance(values, tuple) or len(values) > MAX_DIMENSIONS:
        raise TypeError(tr("expected sizes, found {described}", described=described(values)))
    for value in values:
        if type(value) is not int or not 0 <= value < 1 << 63:
            found = one_line(value, 40) if type(value) is int else described(value)
            raise TypeError(tr("expected a size from 0 to 2**63, found {found}", found=found))
    return values


def class_of(value: object) -> str:
    """Return the name of an object's class as the pickle said it, for an error message."""
    return one_line(value.known_as if isinstance(value, Inert) else type(value).__name__, 80)
