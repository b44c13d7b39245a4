"""A restricted unpickler: it builds tensors, dictionaries and lists, and nothing else.

Knows the pickle format and the names that occur in checkpoints; does not know file containers.
Nothing that a pickle names is imported or called. Every allowed name maps to a class of this
module, and every other name is refused. Random states, numpy objects and argument lists become
placeholders that ignore their content.
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
    """A placeholder for an object that is not needed; it ignores its arguments and its state."""

    __slots__ = ()

    def __init__(self, *_: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        # Without this method a pickle could set attributes.
        pass


class Dict(dict[Any, Any]):
    """Replaces OrderedDict; attributes, such as `_metadata` of state dicts, are ignored."""

    __slots__ = ()
    __setstate__ = Inert.__setstate__


class StorageType(Inert):
    """Replaces a class such as torch.HalfStorage."""

    __slots__ = ("dtype",)

    def __init__(self, dtype: str) -> None:
        self.dtype = dtype


class Storage(Inert):
    """A reference to an array of `count` values in the file; the saved device is ignored."""

    __slots__ = ("count", "dtype", "key")

    def __init__(self, dtype: str, key: str, count: int) -> None:
        self.dtype, self.key, self.count = dtype, key, count


class StridedTensor(Inert):
    """Replaces torch._utils._rebuild_tensor_v2: a strided view of a storage, not yet checked.

    `tensor` is None until the reader of the container sets it.
    """

    __slots__ = ("offset", "shape", "storage", "stride", "tensor")

    def __init__(self, storage: object, offset: object, shape: object, stride: object, *_: object):
        if not isinstance(storage, Storage):
            raise TypeError("a tensor without a storage")
        self.storage = storage
        self.offset = _check_sizes((offset,))[0]
        self.shape, self.stride = _check_sizes(shape), _check_sizes(stride)
        self.tensor: Any = None


class Parameter(Inert):
    """Replaces torch._utils._rebuild_parameter: returns the tensor itself."""

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
    """Load the pickle at `start`; return the object, every tensor in it, and the pickle's end.

    Args:
        file: the memory-mapped file.
        start: the offset of the pickle in bytes.
        what: the file's name in error messages.

    Raises:
        CheckpointError: the pickle is damaged, or names an object that is not allowed.
    """
    end = _find_end(file, start, what)
    reader = _Unpickler(file[start:end], what)
    try:
        root = reader.load()
    except CheckpointError:
        raise
    except Exception as error:  # damaged pickles raise many exception types
        raise CheckpointError(f"{what} is damaged: {one_line(error)}") from None
    return root, reader.tensors, end


def _find_end(file: mmap.mmap, start: int, what: str) -> int:
    """Return the end of the pickle, after checking its opcodes and its memo indices.

    pickle allocates the memo up to the largest index. The check runs before anything is built, so
    that a small file cannot make it allocate gigabytes.
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
                f"{self._what} names {one_line(full)}, which no weight file needs and which "
                "could run code; it was refused. Get the file from its publisher"
            )
        found = ALLOWED[full]
        return self._recorder if found is StridedTensor else found

    @property
    def _recorder(self) -> _TensorRecorder:
        return _TensorRecorder(self.tensors)

    def persistent_load(self, pid: Any) -> Storage:
        match pid:
            case ("storage", StorageType(dtype=dtype), str(key), str(), int(count), *view):
                if view not in ([], [None]):
                    raise CheckpointError(
                        f"{self._what} holds storage views of PyTorch before 0.4, which are not "
                        "supported; save it again with a newer PyTorch"
                    )
                return Storage(dtype, key, *_check_sizes((count,)))
        raise ValueError(f"expected a storage, found {str(pid)[:80]}")


class _TensorRecorder(Inert):
    """Builds tensors and appends each to a list."""

    __slots__ = ("_tensors",)

    def __init__(self, tensors: list[StridedTensor]) -> None:
        self._tensors = tensors

    def __call__(self, *arguments: Any) -> StridedTensor:
        tensor = StridedTensor(*arguments)
        self._tensors.append(tensor)
        return tensor


def _check_sizes(values: object) -> tuple[int, ...]:
    """Return the values if they are a tuple of integers of at least 0; else raise TypeError."""
    if not isinstance(values, tuple) or not all(type(v) is int and v >= 0 for v in values):
        raise TypeError(f"expected sizes, found {str(values)[:80]}")
    return values
