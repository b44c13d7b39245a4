"""The classes and functions that pickles of checkpoints name, and what each becomes.

Knows the names; does not know the pickle format. Nothing here imports or calls what a pickle names:
a name that is not in these tables becomes a stand-in.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from cpm_lm.checkpoints.containers.stand_ins import (
    Function,
    Namespace,
    StandIn,
    StorageType,
    StridedTensor,
    TensorType,
)
from cpm_lm.languages import tr

__all__ = ["FROZEN_SET", "SET", "STORAGE_DTYPES", "Builder", "known_global"]

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
SET = StandIn("set")
FROZEN_SET = StandIn("frozenset")


class Builder(ABC):
    """What makes objects and charges for them."""

    @abstractmethod
    def new_dict(self) -> dict[Any, Any]:
        """Return a new dictionary."""

    @abstractmethod
    def insert(self, into: dict[Any, Any], key: object, value: object) -> None:
        """Set an entry of a dictionary, after checking the key."""

    @abstractmethod
    def new_namespace(self) -> Namespace:
        """Return a new namespace."""

    @abstractmethod
    def record(self, tensor: StridedTensor) -> StridedTensor:
        """Note a new tensor."""


Arguments = tuple[Any, ...]


def _ordered_dict(builder: Builder, arguments: Arguments) -> object:
    """Return a new dictionary; Python 2 gives the entries as a list of pairs."""
    made = builder.new_dict()
    for entries in arguments[:1]:
        if type(entries) is dict:
            entries = entries.items()
        elif type(entries) is not list:
            raise TypeError(tr("a dictionary that is made of something else than entries"))
        for pair in entries:
            if type(pair) not in (list, tuple) or len(pair) != 2:
                raise TypeError(tr("a dictionary that is made of something else than pairs"))
            builder.insert(made, pair[0], pair[1])
    return made


def _tensor(builder: Builder, arguments: Arguments) -> object:
    """Return a tensor, or the stand-in of its storage where that is of an unknown class."""
    if arguments and type(arguments[0]) is StandIn:
        return arguments[0]
    if len(arguments) < 4:
        raise TypeError(tr("a tensor that is not described"))
    storage, offset, shape, stride = arguments[:4]
    return builder.record(StridedTensor(storage, offset, shape, stride))


def _typed_tensor(builder: Builder, arguments: Arguments) -> object:
    """Return a tensor that names its own format, as the seventh argument."""
    made = _tensor(builder, arguments)
    if isinstance(made, StridedTensor):
        if len(arguments) < 7 or not isinstance(arguments[6], TensorType):
            raise TypeError(tr("a tensor of an unknown format"))
        made.dtype = arguments[6].dtype
    return made


def _parameter(_: Builder, arguments: Arguments) -> object:
    """Return the tensor itself."""
    if not arguments:
        raise TypeError(tr("a parameter without a tensor"))
    return arguments[0]


def _retyped(builder: Builder, arguments: Arguments) -> object:
    """Return a tensor that has attributes as well.

    A tensor of a class of its own may mean other numbers than those stored: it is no tensor here.
    """
    if len(arguments) < 3:
        raise TypeError(tr("a tensor that is not described"))
    build, kind, inner = arguments[:3]
    plain = isinstance(kind, StandIn) and kind.name in PLAIN_TENSORS
    if not plain or build not in PLAIN_BUILDERS or type(inner) is not tuple:
        return kind if isinstance(kind, StandIn) else StandIn("torch.Tensor")
    return build.build(builder, inner)


def _quiet(name: str) -> Function:
    made = StandIn(name)
    return Function(name, lambda *_: made)


TENSOR = Function("torch._utils._rebuild_tensor", _tensor)
TENSOR_2 = Function("torch._utils._rebuild_tensor_v2", _tensor)
TENSOR_3 = Function("torch._utils._rebuild_tensor_v3", _typed_tensor)
PARAMETER = Function("torch._utils._rebuild_parameter", _parameter)
PARAMETER_2 = Function("torch._utils._rebuild_parameter_with_state", _parameter)
PLAIN_BUILDERS = (TENSOR, TENSOR_2, TENSOR_3, PARAMETER, PARAMETER_2)
TABLE = {
    function.name: function
    for function in (
        Function("collections.OrderedDict", _ordered_dict),
        Function("collections.defaultdict", lambda builder, _: builder.new_dict()),
        *PLAIN_BUILDERS,
        Function("torch._tensor._rebuild_from_type_v2", _retyped),
        Function("argparse.Namespace", lambda builder, _: builder.new_namespace()),
        *map(_quiet, QUIET),
    )
}
STORAGES = {name: StorageType(dtype) for name, dtype in (STORAGE_DTYPES | OTHER_STORAGES).items()}
TYPES = {name: TensorType(dtype) for name, dtype in TENSOR_DTYPES.items()}


def known_global(module: str, name: str) -> StandIn | StorageType | TensorType | None:
    """Return what a name of a pickle means; None for a name of which nothing is known."""
    if module in ("torch", "torch.storage") and (found := STORAGES.get(name) or TYPES.get(name)):
        return found
    return TABLE.get(f"{module.replace('__builtin__', 'builtins')}.{name}")
