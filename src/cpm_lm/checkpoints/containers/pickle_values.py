"""The opcodes of pickles that make numbers, text, lists, tuples and dictionaries.

Knows protocols 0 to 5, as Python's pickletools describes them; does not know objects. Each function
runs one opcode: it reads the argument and changes the stack.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable

from cpm_lm.checkpoints.containers.pickle_globals import FROZEN_SET, SET
from cpm_lm.checkpoints.containers.pickle_state import MAX_INTEGER, State
from cpm_lm.checkpoints.containers.stand_ins import StandIn
from cpm_lm.checkpoints.text import described
from cpm_lm.languages import tr

__all__ = ["VALUES", "Opcode"]

Opcode = Callable[[State], None]
MAX_DIGITS = 620  # of MAX_INTEGER bytes
DECIMAL = re.compile(rb"[+-]?[0-9]{1,%d}" % MAX_DIGITS)
ESCAPE = re.compile(rb"\\(x[0-9a-fA-F]{2}|[0-7]{1,3}|.)", re.DOTALL)
LETTERS = {
    b"n": b"\n",
    b"t": b"\t",
    b"r": b"\r",
    b"a": b"\a",
    b"b": b"\b",
    b"f": b"\f",
    b"v": b"\v",
}


def _decimal(line: bytes) -> int:
    if DECIMAL.fullmatch(line) is None:
        raise ValueError(tr("an integer is not written as one, or has too many digits"))
    return int(line)


def _int(s: State) -> None:
    line = s.line(MAX_DIGITS + 1)
    s.stack.append(line == b"01" if line in (b"00", b"01") else _decimal(line))


def _long(s: State) -> None:
    s.stack.append(_decimal(s.line(MAX_DIGITS + 2).removesuffix(b"L")))


def _binint(s: State) -> None:
    s.stack.append(int.from_bytes(s.take(4), "little", signed=True))


def _binint1(s: State) -> None:
    s.stack.append(s.data[s.at])
    s.at += 1


def _binint2(s: State) -> None:
    s.stack.append(s.number(2))


def _signed(s: State, size: int) -> None:
    if size > MAX_INTEGER:
        raise ValueError(
            tr(
                "an integer has {size:,} bytes; expected at most {max_integer}",
                size=size,
                max_integer=MAX_INTEGER,
            )
        )
    s.stack.append(int.from_bytes(s.take(size), "little", signed=True))


def _long1(s: State) -> None:
    _signed(s, s.number(1))


def _long4(s: State) -> None:
    _signed(s, s.number(4))


def _float(s: State) -> None:
    s.stack.append(float(s.line(100)))


def _binfloat(s: State) -> None:
    s.stack.append(struct.unpack(">d", s.take(8))[0])


def _constant(value: object) -> Opcode:
    return lambda s: s.stack.append(value)


def _unicode(s: State) -> None:
    s.stack.append(s.line(s.limit).decode("raw-unicode-escape"))


def _text_of(size: int) -> Opcode:
    """Return the opcode of text with a length of this many bytes before it."""
    return lambda s: s.stack.append(s.take(s.number(size)).decode("utf-8", "surrogatepass"))


def _bytes_of(size: int) -> Opcode:
    return lambda s: s.stack.append(s.take(s.number(size)))


def _old_text(data: bytes) -> str | bytes:
    """Return Python 2's text, which may hold bytes too."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data


def _old_text_of(size: int) -> Opcode:
    return lambda s: s.stack.append(_old_text(s.take(s.number(size))))


def _string(s: State) -> None:
    """Push a text in quotes, with Python 2's escapes."""
    line = s.line(s.limit).strip()
    if len(line) < 2 or line[:1] not in (b"'", b'"') or line[-1:] != line[:1]:
        raise ValueError(tr("a text is not in quotes"))
    s.stack.append(_old_text(ESCAPE.sub(_unescaped, line[1:-1])))


def _unescaped(match: re.Match[bytes]) -> bytes:
    r"""Return what an escape stands for.

    >>> ESCAPE.sub(_unescaped, rb"a\n\x41\'\\\101")
    b"a\nA'\\A"
    """
    found = match[1]
    if found[:1] == b"x" and len(found) == 3:
        return bytes([int(found[1:], 16)])
    if found[:1].isdigit():
        return bytes([int(found, 8) & 255]) if found[:1] < b"8" else match[0]
    return LETTERS.get(found, found if found in (b"\\", b"'", b'"') else match[0])


def _tuple(s: State) -> None:
    s.stack.append(s.new_tuple(tuple(s.pop_mark())))


def _tuple1(s: State) -> None:
    s.stack.append(s.new_tuple((s.pop(),)))


def _tuple2(s: State) -> None:
    second, first = s.pop(), s.pop()
    s.stack.append(s.new_tuple((first, second)))


def _tuple3(s: State) -> None:
    third, second, first = s.pop(), s.pop(), s.pop()
    s.stack.append(s.new_tuple((first, second, third)))


def _list(s: State) -> None:
    s.stack.append(s.new_list(s.pop_mark()))


def _empty_list(s: State) -> None:
    s.stack.append(s.new_list([]))


def _extend(s: State, values: list[object]) -> None:
    into = s.top()
    if type(into) is list:
        into += values
    elif not isinstance(into, StandIn):
        raise ValueError(tr("entries are appended to {described}", described=described(into)))


def _append(s: State) -> None:
    value = s.pop()
    _extend(s, [value])


def _appends(s: State) -> None:
    _extend(s, s.pop_mark())


def _add_items(s: State) -> None:
    s.pop_mark()
    if not isinstance(s.top(), StandIn):
        raise ValueError(tr("entries are added to {described}", described=described(s.top())))


def _frozen_set(s: State) -> None:
    s.pop_mark()
    s.stack.append(FROZEN_SET)


def _dict(s: State) -> None:
    values = s.pop_mark()
    s.stack.append(s.new_dict())
    _update(s, values)


def _empty_dict(s: State) -> None:
    s.stack.append(s.new_dict())


def _update(s: State, values: list[object]) -> None:
    into = s.top()
    if len(values) % 2:
        raise ValueError(tr("a key without a value"))
    if type(into) is dict:
        for at in range(0, len(values), 2):
            s.insert(into, values[at], values[at + 1])
    elif not isinstance(into, StandIn):
        raise ValueError(tr("entries are put into {described}", described=described(into)))


def _set_item(s: State) -> None:
    value, key = s.pop(), s.pop()
    _update(s, [key, value])


def _set_items(s: State) -> None:
    _update(s, s.pop_mark())


def _pop(s: State) -> None:
    if len(s.stack) > s.fence:
        s.stack.pop()
    else:
        s.pop_mark()


def _pop_mark(s: State) -> None:
    s.pop_mark()


def _dup(s: State) -> None:
    s.stack.append(s.top())


def _get(s: State) -> None:
    s.get(_decimal(s.line(20)))


def _put(s: State) -> None:
    s.put(_decimal(s.line(20)))


def _proto(s: State) -> None:
    if (version := s.number(1)) > 5:
        raise ValueError(tr("protocol {version}; expected at most 5", version=version))


def _frame(s: State) -> None:
    if (size := s.number(8)) > s.limit - s.at:
        raise ValueError(
            tr(
                "a frame of {size:,} bytes where {limit:,} are left",
                size=size,
                limit=s.limit - s.at,
            )
        )


VALUES: dict[bytes, Opcode] = {
    b"\x80": _proto, b"\x95": _frame,
    b"I": _int, b"J": _binint, b"K": _binint1, b"M": _binint2, b"L": _long, b"\x8a": _long1,
    b"\x8b": _long4, b"F": _float, b"G": _binfloat,
    b"N": _constant(None), b"\x88": _constant(True), b"\x89": _constant(False),
    b"S": _string, b"T": _old_text_of(4), b"U": _old_text_of(1),
    b"B": _bytes_of(4), b"C": _bytes_of(1), b"\x8e": _bytes_of(8), b"\x96": _bytes_of(8),
    b"V": _unicode, b"X": _text_of(4), b"\x8c": _text_of(1), b"\x8d": _text_of(8),
    b")": _constant(()), b"t": _tuple, b"\x85": _tuple1, b"\x86": _tuple2, b"\x87": _tuple3,
    b"]": _empty_list, b"l": _list, b"a": _append, b"e": _appends,
    b"}": _empty_dict, b"d": _dict, b"s": _set_item, b"u": _set_items,
    b"\x8f": _constant(SET), b"\x90": _add_items, b"\x91": _frozen_set,
    b"0": _pop, b"1": _pop_mark, b"2": _dup, b"(": State.mark,
    b"g": _get, b"h": lambda s: s.get(s.number(1)), b"j": lambda s: s.get(s.number(4)),
    b"p": _put, b"q": lambda s: s.put(s.number(1)), b"r": lambda s: s.put(s.number(4)),
    b"\x94": lambda s: s.put(s.memoized),
}  # fmt: skip
"""By the opcode's byte."""
