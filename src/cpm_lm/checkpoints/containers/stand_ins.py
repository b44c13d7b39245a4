"""What the objects of a pickle become: descriptions of tensors, or stand-ins for all else.

Knows the names that occur in checkpoints; does not know the pickle format. Nothing here imports or
calls what a pickle names.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cpm_lm.checkpoints.text import one_line
from cpm_lm.languages import tr

__all__ = [
    "KNOWN",
    "OTHER_STORAGES",
    "STORAGE_DTYPES",
    "TENSOR_DTYPES",
    "Namespace",
    "StandIn",
    "Storage",
    "StorageType",
    "StridedTensor",
    "TensorRecorder",
    "TensorType",
    "TypedTensor",
    "check_sizes",
    "class_of",
    "new_stand_in",
]

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
    "ComplexFloatStorage": "C64",
    "ComplexDoubleStorage": "C128",
}
"""Formats by the classes that PyTorch names in the module `torch`."""
OTHER_STORAGES = {
    "UntypedStorage": "U8",
    "_UntypedStorage": "U8",
    "QInt8Storage": "I8",
    "QUInt8Storage": "U8",
    "QInt32Storage": "I32",
    "QUInt4x2Storage": "U8",
    "QUInt2x4Storage": "U8",
}
"""Those of which only the size counts: what the numbers mean is said by the tensor."""
TENSOR_DTYPES = {
    "uint16": "U16",
    "uint32": "U32",
    "uint64": "U64",
    "float8_e4m3fn": "F8_E4M3",
    "float8_e5m2": "F8_E5M2",
    "float8_e8m0fnu": "F8_E8M0",
}
"""The formats that PyTorch has no class of storages for; such a tensor names its own."""


class Inert:
    """A placeholder for an object that is not needed; it ignores its arguments and its state."""

    __slots__ = ()
    known_as = ""
    """The class that the pickle named."""

    def __init__(self, *_: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        # Without this method a pickle could set attributes.
        pass


class _Unchanged(type):
    def __call__(cls, *_: object, **__: object) -> Any:
        return cls

    def __setitem__(cls, key: object, value: object) -> None:
        pass


class StandIn(metaclass=_Unchanged):
    """Stands in for a class, a function or an object of which nothing is known but the name.

    It is a class, and all that a pickle can do to it (call it, make an object of it, set its
    state, put entries in) gives this same class, unchanged.
    """

    known_as = ""

    def __new__(cls, *_: object, **__: object) -> Any:
        """Return the class itself."""
        return cls

    @classmethod
    def __setstate__(cls, state: object) -> None:
        """Do nothing."""

    @classmethod
    def append(cls, entry: object) -> None:
        """Do nothing, for what pickles as a list."""

    extend = add = append


class Dict(dict[Any, Any]):
    """Replaces OrderedDict; attributes, such as `_metadata` of state dicts, are ignored."""

    __slots__ = ()
    __setstate__ = Inert.__setstate__


class DefaultDict(Dict):
    """Stands in for a defaultdict; what it would fill in is dropped."""

    __slots__ = ()

    def __init__(self, *_: object) -> None:
        super().__init__()


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


class TensorType(Inert):
    """Stands in for a format such as torch.float8_e5m2, which a tensor names."""

    __slots__ = ("dtype",)

    def __init__(self, dtype: str) -> None:
        self.dtype = dtype


class StridedTensor(Inert):
    """Replaces torch._utils._rebuild_tensor_v2: a strided view of a storage, not yet checked.

    `tensor` is None until the reader of the container sets it.
    """

    __slots__ = ("dtype", "offset", "shape", "storage", "stride", "tensor")
    known_as = "torch.Tensor"

    def __init__(self, storage: object, offset: object, shape: object, stride: object, *_: object):
        if not isinstance(storage, Storage):
            raise TypeError(tr("a tensor without a storage"))
        self.storage = storage
        self.offset = check_sizes((offset,))[0]
        self.shape, self.stride = check_sizes(shape), check_sizes(stride)
        self.dtype = storage.dtype
        self.tensor: Any = None


class TypedTensor(StridedTensor):
    """Stands in for torch._utils._rebuild_tensor_v3: a tensor that names its own format."""

    __slots__ = ()

    def __init__(  # the arguments of PyTorch's own function
        self, storage: object, offset: object, shape: object, stride: object, *more: object
    ):
        super().__init__(storage, offset, shape, stride)
        if len(more) < 3 or not isinstance(more[2], TensorType):
            raise TypeError(tr("a tensor of an unknown format"))
        self.dtype = more[2].dtype


class Parameter(Inert):
    """Replaces torch._utils._rebuild_parameter: returns the tensor itself."""

    def __new__(cls, data: object, *_: object) -> Any:
        return data


class Retyped(Inert):
    """Stands in for torch._tensor._rebuild_from_type_v2: a tensor that has attributes as well.

    A tensor of a class of its own may mean other numbers than those stored: it is no tensor here.
    """

    def __new__(cls, build: object, kind: object, arguments: object, *_: object) -> Any:
        plain = isinstance(kind, type) and kind.__dict__.get("known_as") in PLAIN_TENSORS
        known = build is Parameter or isinstance(build, TensorRecorder)
        if not plain or not known or not isinstance(arguments, tuple) or not callable(build):
            return kind if isinstance(kind, type) else StandIn
        return build(*arguments)


class Namespace(Inert):
    """Stands in for argparse.Namespace: the whole numbers and texts of a program's arguments."""

    __slots__ = ("values",)

    def __init__(self, *_: object) -> None:
        self.values: dict[str, Any] = {}

    def __setstate__(self, state: object) -> None:
        if isinstance(state, dict):
            self.values = {k: v for k, v in state.items() if type(k) is str and type(v) is int}


def _quiet(name: str) -> type[Inert]:
    return type("Quiet", (Inert,), {"__slots__": (), "known_as": name})


PLAIN_TENSORS = ("torch.Tensor", "torch.nn.parameter.Parameter", "torch.nn.parameter.Buffer")
QUIET = (
    *PLAIN_TENSORS,
    "_codecs.encode",
    "builtins.set",
    "numpy.dtype",
    "numpy.ndarray",
    "numpy.core.multiarray._reconstruct",
    "numpy._core.multiarray._reconstruct",
    "numpy.core.multiarray.scalar",
    "numpy._core.multiarray.scalar",
)
"""Names that lie beside the weights of nearly every checkpoint, so that nobody need be told."""

KNOWN: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": Dict,
    "collections.defaultdict": DefaultDict,
    "torch._utils._rebuild_tensor": StridedTensor,
    "torch._utils._rebuild_tensor_v2": StridedTensor,
    "torch._utils._rebuild_tensor_v3": TypedTensor,
    "torch._utils._rebuild_parameter": Parameter,
    "torch._utils._rebuild_parameter_with_state": Parameter,
    "torch._tensor._rebuild_from_type_v2": Retyped,
    "argparse.Namespace": Namespace,
    **{name: _quiet(name) for name in QUIET},
}


class TensorRecorder(Inert):
    """Builds tensors and appends each to a list."""

    __slots__ = ("_kind", "_tensors")

    def __init__(self, kind: Callable[..., StridedTensor], tensors: list[StridedTensor]) -> None:
        self._kind, self._tensors = kind, tensors

    def __call__(self, *arguments: Any) -> Any:
        """Return a new tensor, or the stand-in of its storage where that is of an unknown class."""
        if arguments and not isinstance(arguments[0], Storage):
            kind = arguments[0]
            if isinstance(kind, type) and issubclass(kind, StandIn):
                return kind
        tensor = self._kind(*arguments)
        self._tensors.append(tensor)
        return tensor


def check_sizes(values: object) -> tuple[int, ...]:
    """Return the values if they are a tuple of integers of at least 0; else raise TypeError."""
    if not isinstance(values, tuple) or not all(type(v) is int and v >= 0 for v in values):
        raise TypeError(tr("expected sizes, found {values}", values=str(values)[:80]))
    return values


def class_of(value: object) -> str:
    """Return the name of an object's class as the pickle said it, for an error message."""
    kind = value if isinstance(value, type) else type(value)
    known = getattr(kind, "known_as", "") if issubclass(kind, StandIn | Inert) else ""
    return one_line(known or kind.__name__, 80)


def new_stand_in(name: str) -> type[StandIn]:
    """Return a stand-in for the class or function that a pickle names."""
    stand_in: Any = _Unchanged("StandIn", (StandIn,), {"known_as": name})
    return stand_in
