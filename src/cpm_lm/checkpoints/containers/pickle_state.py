"""The state of reading a pickle: where it stands, the stack, the memo, and the budget.

Knows bytes and Python's plain values; does not know opcodes. Whatever an opcode makes is charged
for. The budget grows with the bytes that were read, so that neither memory nor time can exceed a
multiple of the file's size, however the objects share one another.
"""

from __future__ import annotations

import mmap
from array import array
from typing import Any

from cpm_lm.checkpoints.containers.pickle_globals import Builder
from cpm_lm.checkpoints.containers.stand_ins import Inert, Namespace, StandIn, StridedTensor
from cpm_lm.checkpoints.text import described
from cpm_lm.languages import tr

__all__ = ["MAX_INTEGER", "MAX_NAME", "State"]

BASE = 32 << 20
"""Bytes of objects that any pickle may hold."""
PER_BYTE = 32
"""More bytes of objects, for each byte that was read."""
MAX_NAME = 4096
"""Characters of a key, or of the name of a class: comparing longer ones again and again is slow."""
MAX_INTEGER = 255
"""Bytes of an integer."""
MAX_NUMBER_KEYS = 1 << 15
"""Entries up to which a dictionary takes integers as keys: a file can choose their hashes, so that
the time to insert them is quadratic."""
MAX_OTHER_KEYS = 256
"""The same for floats and tuples, of which any number can have the same hash."""
MAX_TUPLE_KEY = 8

# Bytes of memory, rounded up, as measured on CPython.
DICT, ENTRY, LIST, TENSOR, SLOTS = 280, 100, 100, 700, 120

MISSING: Any = object()
NUMBERS = (int, bool, type(None))


class State(Builder):
    """A pickle that is being read.

    Attributes:
        data: the file.
        at: the offset of the next byte.
        limit: where the pickle must have ended.
        fence: how much of the stack lies below the last mark.
        steps: opcodes so far, which bounds the indices of the memo.
        pids: by the address of each persistent id that was used: the id, and what it means.
    """

    def __init__(self, data: mmap.mmap, start: int, limit: int) -> None:
        self.data, self.at, self.limit = data, start, limit
        self.stack: list[Any] = []
        self.marks = array("Q")
        self.fence = 0
        self.memo: list[Any] = []
        self.memoized = 0
        self.steps = 0
        self.tensors: list[StridedTensor] = []
        self.storages: list[Any] = []
        self.pids: dict[int, tuple[Any, Any]] = {}
        self.stand_ins: dict[str, StandIn] = {}
        self._allowed = BASE - PER_BYTE * start
        self._spent = 0

    def charge(self, size: int) -> None:
        """Take bytes from the budget.

        Raises:
            ValueError: it is used up.
        """
        self._spent += size
        if self._spent > self._allowed + PER_BYTE * self.at:
            raise ValueError(
                tr(
                    "its objects take more than {allowed:,} bytes, too many for its size",
                    allowed=self._allowed + PER_BYTE * self.at,
                )
            )

    def take(self, size: int) -> bytes:
        """Return the next bytes."""
        end = self.at + size
        if size < 0 or end > self.limit:
            raise ValueError(
                tr(
                    "{size:,} bytes are wanted where {limit:,} are left",
                    size=size,
                    limit=self.limit - self.at,
                )
            )
        found = self.data[self.at : end]
        self.at = end
        return found

    def number(self, size: int) -> int:
        """Return the next bytes as an integer without a sign."""
        return int.from_bytes(self.take(size), "little")

    def line(self, longest: int) -> bytes:
        """Return the bytes up to a line break, and go on after it."""
        end = self.data.find(b"\n", self.at, min(self.limit, self.at + longest + 1))
        if end < 0:
            raise ValueError(tr("a line is too long or cut off"))
        found = self.data[self.at : end]
        self.at = end + 1
        return found

    def name(self) -> str:
        """Return the next line as the name of a module, class or function."""
        return self.line(MAX_NAME).decode()

    def pop(self) -> Any:
        """Take the last value."""
        if len(self.stack) <= self.fence:
            raise ValueError(tr("a value is wanted where there is none"))
        return self.stack.pop()

    def top(self) -> Any:
        """Return the last value, which stays."""
        if len(self.stack) <= self.fence:
            raise ValueError(tr("a value is wanted where there is none"))
        return self.stack[-1]

    def mark(self) -> None:
        """Begin a list of values."""
        self.marks.append(len(self.stack))
        self.fence = len(self.stack)

    def pop_mark(self) -> list[Any]:
        """Take all values since the last mark, and the mark."""
        if not self.marks:
            raise ValueError(tr("a mark is wanted where there is none"))
        at = self.marks.pop()
        found = self.stack[at:]
        del self.stack[at:]
        self.fence = self.marks[-1] if self.marks else 0
        return found

    def put(self, index: int) -> None:
        """Remember the last value."""
        # pickle numbers them one by one; a larger index would make a memo of gigabytes.
        if not 0 <= index <= self.steps:
            raise ValueError(
                tr(
                    "a memo of {index:,} entries after {steps:,} steps",
                    index=index,
                    steps=self.steps,
                )
            )
        value = self.top()
        if index >= len(self.memo):
            self.memo.extend([MISSING] * (index + 1 - len(self.memo)))
        self.memoized += self.memo[index] is MISSING
        self.memo[index] = value

    def get(self, index: int) -> None:
        """Put a value that was remembered on the stack again."""
        value = self.memo[index] if 0 <= index < len(self.memo) else MISSING
        if value is MISSING:
            raise ValueError(tr("a value of the memo is wanted that is not there"))
        self.stack.append(value)

    def new_dict(self) -> dict[Any, Any]:
        """Return a new dictionary."""
        self.charge(DICT)
        return {}

    def new_list(self, values: list[Any]) -> list[Any]:
        """Return a list of values that were on the stack."""
        self.charge(LIST + 8 * len(values))
        return values

    def new_tuple(self, values: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return a tuple of values that were on the stack."""
        self.charge(64 + 8 * len(values))
        return values

    def insert(self, into: dict[Any, Any], key: object, value: object) -> None:
        """Set an entry of a dictionary, after checking the key."""
        self.charge(ENTRY)
        if type(key) is not str:
            self._check_key(key, len(into))
        elif len(key) > MAX_NAME:
            raise ValueError(
                tr(
                    "a key is {described}; expected at most {max_name:,}",
                    described=described(key),
                    max_name=MAX_NAME,
                )
            )
        into[key] = value

    def _check_key(self, key: object, entries: int) -> None:
        """Refuse a key whose hash is expensive, or one of too many whose hashes can be chosen."""
        if isinstance(key, Inert):
            return  # its hash is its identity
        values = key if type(key) is tuple and len(key) <= MAX_TUPLE_KEY else (key,)
        if not all(map(_is_plain, values)):
            raise ValueError(tr("a key of a dictionary is {described}", described=described(key)))
        most = MAX_NUMBER_KEYS if type(key) in NUMBERS else MAX_OTHER_KEYS
        if type(key) is not bytes and entries >= most:
            raise ValueError(
                tr(
                    "a dictionary of more than {most:,} entries has keys that are no text",
                    most=most,
                )
            )

    def new_namespace(self) -> Namespace:
        """Return a new namespace."""
        self.charge(DICT)
        return Namespace()

    def set_state(self, of: Namespace, state: object) -> None:
        """Keep what is needed of a namespace."""
        if type(state) is dict:
            self.charge(ENTRY * len(state))
            of.set_state(state)

    def record(self, tensor: StridedTensor) -> StridedTensor:
        """Note a new tensor."""
        self.charge(TENSOR)
        self.tensors.append(tensor)
        return tensor

    def stand_in(self, name: str) -> StandIn:
        """Return the one stand-in of a name."""
        found = self.stand_ins.get(name)
        if found is None:
            self.charge(SLOTS + ENTRY + len(name))
            found = self.stand_ins[name] = StandIn(name)
        return found


def _is_plain(value: object) -> bool:
    if isinstance(value, str | bytes):
        return len(value) <= MAX_NAME
    if type(value) is int:
        return -(1 << 63) <= value < 1 << 64
    return value is None or isinstance(value, bool | float)
