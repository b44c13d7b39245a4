"""A reader of pickles that makes tensors, dictionaries, lists, text and numbers, and nothing else.

Knows the pickle format, which it interprets itself, and the objects in it; does not know file
containers. Nothing that a pickle names is imported or called. The names of tensors map to functions
of `pickle_globals` that describe a tensor. Every other name, be it that of an optimizer or of
`os.system`, maps to a stand-in that ignores everything done to it.
"""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from typing import Any

from cpm_lm.checkpoints.containers.pickle_globals import known_global
from cpm_lm.checkpoints.containers.pickle_state import MAX_NAME, State
from cpm_lm.checkpoints.containers.pickle_values import VALUES, Opcode
from cpm_lm.checkpoints.containers.stand_ins import (
    Function,
    Inert,
    Namespace,
    StandIn,
    Storage,
    StorageType,
    StridedTensor,
    check_sizes,
)
from cpm_lm.checkpoints.text import described, one_line
from cpm_lm.errors import CheckpointError
from cpm_lm.languages import tr

__all__ = ["Pickle", "unpickle"]

STOP = ord(".")
STORAGE_COST = 400
"""Bytes of memory of a storage and of its places in lists and tables."""


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


class _OldViewError(ValueError):
    pass


def unpickle(file: mmap.mmap, start: int, limit: int, what: str) -> Pickle:
    """Read the pickle at `start`, in time and memory in proportion to its size.

    Args:
        file: the memory-mapped file.
        start: the offset of the pickle in bytes.
        limit: the offset that the pickle must not exceed.
        what: the file's name in error messages.

    Raises:
        CheckpointError: the pickle is damaged, or its objects are too many for its size.
    """
    state = State(file, start, limit)
    try:
        root = _run(state)
    except _OldViewError:
        raise CheckpointError(
            "{what} holds storage views of PyTorch before 0.4, which are not "
            "supported; save it again with a newer PyTorch",
            what=what,
        ) from None
    except Exception as error:  # damaged pickles raise many exception types
        raise CheckpointError(
            "{what} is damaged or truncated: {error} (byte {at:,} of a pickle); download it again",
            what=what,
            error=one_line(error),
            at=state.at - start,
        ) from None
    return Pickle(
        root=root,
        tensors=state.tensors,
        storages=state.storages,
        stand_ins=tuple(state.stand_ins),
        end=state.at,
    )


def _run(s: State) -> Any:
    """Run all opcodes; return the value that the last one leaves."""
    data, limit, opcodes = s.data, s.limit, OPCODES
    while s.at < limit:
        code = data[s.at]
        s.at += 1
        if code == STOP:
            return s.pop()
        opcodes[code](s)
        s.steps += 1
    raise ValueError(tr("it ends without its end mark"))


def _global(s: State) -> None:
    s.stack.append(_find(s, s.name(), s.name()))


def _stack_global(s: State) -> None:
    name, module = s.pop(), s.pop()
    if type(name) is not str or type(module) is not str or len(name) + len(module) > MAX_NAME:
        raise ValueError(tr("a class is named by something else than two short texts"))
    s.stack.append(_find(s, module, name))


def _find(s: State, module: str, name: str) -> object:
    found = known_global(module, name)
    if found is None:
        return s.stand_in(f"{module.replace('__builtin__', 'builtins')}.{name}")
    return found


def _call(s: State, function: object, arguments: object) -> None:
    """Push what a call gives: by the table for the names of tensors, else the stand-in itself."""
    if type(arguments) is not tuple:
        raise ValueError(
            tr("a call with {described}; expected a tuple", described=described(arguments))
        )
    if isinstance(function, Function):
        s.stack.append(function.build(s, arguments))
    elif isinstance(function, StandIn):
        s.stack.append(function)
    else:
        raise ValueError(tr("a call of {described}", described=described(function)))


def _reduce(s: State) -> None:
    arguments, function = s.pop(), s.pop()
    _call(s, function, arguments)


def _new_object_with_names(s: State) -> None:
    s.pop()
    _reduce(s)


def _inst(s: State) -> None:
    function = _find(s, s.name(), s.name())
    _call(s, function, tuple(s.pop_mark()))


def _obj(s: State) -> None:
    values = s.pop_mark()
    if not values:
        raise ValueError(tr("an object without a class"))
    _call(s, values[0], tuple(values[1:]))


def _build(s: State) -> None:
    """Give an object its state; all but namespaces ignore it."""
    state, of = s.pop(), s.top()
    if isinstance(of, Namespace):
        s.set_state(of, state)
    elif isinstance(of, Function) or not isinstance(of, Inert | dict | list):
        raise ValueError(tr("{described} is given a state", described=described(of)))


def _persistent(s: State) -> None:
    pid = s.pop()
    known = s.pids.get(id(pid))
    if known is None:
        s.charge(STORAGE_COST)
        known = s.pids[id(pid)] = (pid, _stored(s, pid))  # kept, so that no other has its address
    s.stack.append(known[1])


def _stored(s: State, pid: object) -> object:
    """Return the storage that a persistent id describes, or the stand-in of its class."""
    match pid if type(pid) is tuple and len(pid) <= 8 else None:
        case ("module", found, *_):  # a whole program's object, in the older container
            return found
        case ("storage", StandIn() as unknown, *_) if not isinstance(unknown, Function):
            return unknown
        case ("storage", StorageType(dtype=dtype), str(key), str(), int(count), *view):
            if view and (len(view) > 1 or view[0] is not None):
                raise _OldViewError
            if len(key) > MAX_NAME:
                raise ValueError(tr("a storage is named by {described}", described=described(key)))
            s.storages.append(Storage(dtype, key, *check_sizes((count,))))
            return s.storages[-1]
    raise ValueError(tr("expected a storage, found {described}", described=described(pid)))


def _refused(name: str) -> Opcode:
    def run(_: State) -> None:
        raise ValueError(tr("the opcode {name} is not allowed", name=name))

    return run


OBJECTS: dict[bytes, Opcode] = {
    b"c": _global, b"\x93": _stack_global, b"R": _reduce, b"\x81": _reduce,
    b"\x92": _new_object_with_names, b"i": _inst, b"o": _obj, b"b": _build, b"Q": _persistent,
}  # fmt: skip
"""By the opcode's byte. To make an object (NEWOBJ) is a call here."""
REFUSED = {
    0x50: "PERSID", 0x82: "EXT1", 0x83: "EXT2", 0x84: "EXT4", 0x97: "NEXT_BUFFER",
    0x98: "READONLY_BUFFER",
}  # fmt: skip
"""What no file of torch.save has: ids as text, extensions, and buffers that lie outside."""
OPCODES = tuple(
    VALUES.get(bytes([code]))
    or OBJECTS.get(bytes([code]))
    or _refused(REFUSED.get(code, f"0x{code:02x}"))
    for code in range(256)
)
"""By the opcode's number."""
