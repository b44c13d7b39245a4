"""A pickle reader that can build tensors and containers, and nothing else.

Knows the pickle format and the names that checkpoints carry; does not know containers or files.
Nothing that a pickle names is ever imported or called: every allowed name leads to a class of
this module, and every other name is refused. Random states, numpy objects and argument lists
become stand-ins that ignore what they are given.
"""

from __future__ import annotations

import io
import mmap
import pickle
import pickletools
from collections.abc import Callable
from typing import IO, Any, cast

from cpm_lm.checkpoints.text import one_line
from cpm_lm.errors import CheckpointError

__all__ = ["Dict", "Storage", "StridedTensor", "unpickle"]

STORAGE_DTYPES = {
    "DoubleStorage": "F64",
    "FloatStorage": "F32",
    "HalfStorage": "F16",
    "BFloat16Storage": "BF16",
    "LongStorage": "I64",
    "IntStorage": "I32",
    "ShortStorage": "I16",
    "CharStorage": "I8",
    "ByteStorage": "U8",
    "BoolStorage": "BOOL",
}

UNSAFE_OPCODES = ("EXT1", "EXT2", "EXT4", "NEXT_BUFFER", "READONLY_BUFFER")
MEMO_OPCODES = ("PUT", "BINPUT", "LONG_BINPUT")


class Inert:
    """Stands in for an object that is not needed: takes any arguments and state, keeps nothing."""

    __slots__ = ()

    def __init__(self, *_: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        # Without this method a pickle could set attributes.
        pass


class Dict(dict[Any, Any]):
    """Stands in for an OrderedDict; its attributes (`_metadata` of state dicts) are dropped."""

    __slots__ = ()
    __setstate__ = Inert.__setstate__


class StorageType(Inert):
    """Stands in for a class such as torch.HalfStorage."""

    __slots__ = ("dtype",)

    def __init__(self, dtype: str) -> None:
        self.dtype = dtype


class Storage(Inert):
    """A run of numbers that lies elsewhere in the file; the device it was saved from is dropped."""

    __slots__ = ("count", "dtype", "key")

    def __init__(self, dtype: str, key: str, count: int) -> None:
        self.dtype, self.key, self.count = dtype, key, count


class StridedTensor(Inert):
    """Stands in for torch._utils._rebuild_tensor_v2: a window onto a storage, not yet checked.

    `tensor` is None until whoever knows the file has placed it.
    """

    __slots__ = ("offset", "shape", "storage", "stride", "tensor")

    def __init__(self, storage: object, offset: object, shape: object, stride: object, *_: object):
        if not isinstance(storage, Storage):
            raise TypeError("a tensor without a storage")
        self.storage = storage
        self.offset = _counts((offset,))[0]
        self.shape, self.stride = _counts(shape), _counts(stride)
        self.tensor: Any = None


class Parameter(Inert):
    """Stands in for torch._utils._rebuild_parameter: the tensor itself."""

    def __new__(cls, data: object, *_: object) -> Any:
        return data


ALLOWED: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": Dict,
    "torch._utils._rebuild_tensor": StridedTensor,
    "torch._utils._rebuild_tensor_v2": StridedTensor,
    "torch._utils._rebuild_parameter": Parameter,
    "argparse.Namespace": Inert,
    "_codecs.encode": Inert,
    "__builtin__.set": Inert,
    "builtins.set": Inert,
    "numpy.dtype": Inert,
    "numpy.ndarray": Inert,
    "numpy.core.multiarray._reconstruct": Inert,
    "numpy._core.multiarray._reconstruct": Inert,
    "numpy.core.multiarray.scalar": Inert,
    "numpy._core.multiarray.scalar": Inert,
}


def unpickle(file: mmap.mmap, start: int, what: str) -> tuple[Any, list[StridedTensor], int]:
    """Build the object of the pickle at `start`; return it, every tensor in it, and its end.

    Args:
        file: what holds the pickle.
        start: where it begins, in bytes.
        what: the name to use in errors.

    Raises:
        CheckpointError: the pickle is damaged, or names anything that is not allowed.
    """
    end = _scan(file, start, what)
    reader = _Unpickler(file[start:end], what)
    try:
        root = reader.load()
    except CheckpointError:
        raise
    except Exception as error:  # damaged pickles raise nearly every kind
        raise CheckpointError(f"{what} is damaged: {one_line(error)}") from None
    return root, reader.tensors, end


def _scan(file: mmap.mmap, start: int, what: str) -> int:
    """Return where the pickle ends, once its sizes are found sane.

    They are checked before anything is built, so that a small file cannot ask for much memory.
    """
    file.seek(start)
    try:
        for step, (opcode, argument, _) in enumerate(pickletools.genops(cast(IO[bytes], file))):
            if opcode.name in UNSAFE_OPCODES:
                raise ValueError(f"the opcode {opcode.name} is not allowed")
            if opcode.name in MEMO_OPCODES and not 0 <= int(str(argument)) <= step:
                raise ValueError(f"a memo of {argument} entries after {step} steps")
    except Exception as error:
        raise CheckpointError(f"{what} is damaged or truncated: {one_line(error)}") from None
    return file.tell()


class _Unpickler(pickle.Unpickler):
    def __init__(self, data: bytes, what: str) -> None:
        super().__init__(io.BytesIO(data))
        self._what = what
        self.tensors: list[StridedTensor] = []

    def find_class(self, module: str, name: str) -> Any:
        if module == "torch" and name in STORAGE_DTYPES:
            return StorageType(STORAGE_DTYPES[name])
        full = f"{module}.{name}"
        if full not in ALLOWED:
            raise CheckpointError(
                f"{self._what} names {one_line(full)}, which no file of weights needs and which "
                "could run a program; it was refused. Get the file from its publisher"
            )
        found = ALLOWED[full]
        return self._listed if found is StridedTensor else found

    @property
    def _listed(self) -> _Listed:
        return _Listed(self.tensors)

    def persistent_load(self, pid: Any) -> Storage:
        match pid:
            case ("storage", StorageType(dtype=dtype), str(key), str(), int(count), *view):
                if view not in ([], [None]):
                    raise CheckpointError(
                        f"{self._what} holds views of storages as PyTorch before 0.4 wrote them; "
                        "save it again with a newer PyTorch"
                    )
                return Storage(dtype, key, *_counts((count,)))
        raise ValueError(f"a storage was expected, not {str(pid)[:80]}")


class _Listed(Inert):
    """Builds tensors and lists them."""

    __slots__ = ("_tensors",)

    def __init__(self, tensors: list[StridedTensor]) -> None:
        self._tensors = tensors

    def __call__(self, *arguments: Any) -> StridedTensor:
        tensor = StridedTensor(*arguments)
        self._tensors.append(tensor)
        return tensor


def _counts(values: object) -> tuple[int, ...]:
    """Return a tuple of whole numbers from 0 on; anything else is a damaged file."""
    if not isinstance(values, tuple) or not all(type(v) is int and v >= 0 for v in values):
        raise TypeError(f"sizes were expected, not {str(values)[:80]}")
    return values
