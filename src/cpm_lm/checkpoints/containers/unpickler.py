"""A restricted unpickler: it builds tensors, dictionaries and lists, and nothing else.

Knows the pickle format and the names that occur in checkpoints; does not know file containers.
Nothing that a pickle names is imported or called. The names of tensors map to classes of this
module that describe a tensor. Every other name, be it that of an optimizer or of `os.system`, maps
to a stand-in that ignores everything done to it.
"""

from __future__ import annotations

import io
import mmap
import pickle
import pickletools
from dataclasses import dataclass
from typing import IO, Any, cast

from cpm_lm.checkpoints.containers.stand_ins import (
    KNOWN,
    OTHER_STORAGES,
    STORAGE_DTYPES,
    TENSOR_DTYPES,
    StandIn,
    Storage,
    StorageType,
    StridedTensor,
    TensorRecorder,
    TensorType,
    TypedTensor,
    check_sizes,
    new_stand_in,
)
from cpm_lm.checkpoints.text import one_line
from cpm_lm.errors import CheckpointError
from cpm_lm.languages import tr

__all__ = ["Pickle", "unpickle"]

UNSAFE_OPCODES = ("EXT1", "EXT2", "EXT4", "NEXT_BUFFER", "READONLY_BUFFER")
MEMO_OPCODES = ("PUT", "BINPUT", "LONG_BINPUT")


@dataclass(frozen=True, kw_only=True)
class Pickle:
    """What a pickle holds."""

    root: Any
    tensors: list[StridedTensor]
    """Every tensor in it."""
    storages: list[Storage]
    """Every storage, of tensors and of what is none; some may be there several times."""
    stand_ins: tuple[str, ...]
    """The names that stand-ins were given for, each once."""
    end: int
    """Where the pickle ends, in bytes."""


def unpickle(file: mmap.mmap, start: int, what: str) -> Pickle:
    """Load the pickle at `start`.

    Args:
        file: the memory-mapped file.
        start: the offset of the pickle in bytes.
        what: the file's name in error messages.

    Raises:
        CheckpointError: the pickle is damaged.
    """
    end = _find_end(file, start, what)
    reader = _Unpickler(file[start:end], what)
    try:
        root = reader.load()
    except CheckpointError:
        raise
    except Exception as error:  # damaged pickles raise many exception types
        raise CheckpointError(
            "{what} is damaged: {error}", what=what, error=one_line(error)
        ) from None
    return Pickle(
        root=root,
        tensors=reader.tensors,
        storages=reader.storages,
        stand_ins=tuple(reader.stand_ins),
        end=end,
    )


def _find_end(file: mmap.mmap, start: int, what: str) -> int:
    """Return the end of the pickle, after checking its opcodes and its memo indices.

    pickle allocates the memo up to the largest index. The check runs before anything is built, so
    that a small file cannot make it allocate gigabytes.
    """
    file.seek(start)
    try:
        for step, (opcode, argument, _) in enumerate(pickletools.genops(cast(IO[bytes], file))):
            if opcode.name in UNSAFE_OPCODES:
                raise ValueError(
                    tr("the opcode {opcode_name} is not allowed", opcode_name=opcode.name)
                )
            if opcode.name in MEMO_OPCODES and not 0 <= int(str(argument)) <= step:
                raise ValueError(
                    tr(
                        "a memo of {argument} entries after {step} steps",
                        argument=argument,
                        step=step,
                    )
                )
    except Exception as error:
        raise CheckpointError(
            "{what} is damaged or truncated: {error}", what=what, error=one_line(error)
        ) from None
    return file.tell()


class _Unpickler(pickle.Unpickler):
    def __init__(self, data: bytes, what: str) -> None:
        super().__init__(io.BytesIO(data))
        self._what = what
        self.tensors: list[StridedTensor] = []
        self.storages: list[Storage] = []
        self.stand_ins: dict[str, type[StandIn]] = {}

    def find_class(self, module: str, name: str) -> Any:
        if module in ("torch", "torch.storage"):
            if found := (STORAGE_DTYPES | OTHER_STORAGES).get(name):
                return StorageType(found)
            if found := TENSOR_DTYPES.get(name):
                return TensorType(found)
        full = f"{module.replace('__builtin__', 'builtins')}.{name}"
        known = KNOWN.get(full)
        if known is None:
            if full not in self.stand_ins:
                self.stand_ins[full] = new_stand_in(full)
            return self.stand_ins[full]
        is_tensor = known in (StridedTensor, TypedTensor)
        return TensorRecorder(known, self.tensors) if is_tensor else known

    def persistent_load(self, pid: Any) -> Any:
        match pid:
            case ("module", found, *_):  # a whole program's object, in the older container
                return found
            case ("storage", type() as unknown, *_) if issubclass(unknown, StandIn):
                return unknown
            case ("storage", StorageType(dtype=dtype), str(key), str(), int(count), *view):
                if view not in ([], [None]):
                    raise CheckpointError(
                        "{what} holds storage views of PyTorch before 0.4, which are not "
                        "supported; save it again with a newer PyTorch",
                        what=self._what,
                    )
                self.storages.append(Storage(dtype, key, *check_sizes((count,))))
                return self.storages[-1]
        raise ValueError(tr("expected a storage, found {pid}", pid=str(pid)[:80]))
