"""Parts of error messages that many modules need.

Knows text and the first bytes of files; does not know models or formats.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from cpm_lm.languages import later, tr

__all__ = ["SHOWN", "quoted", "shortened", "unreadable_kind", "what_is_there"]

SHOWN = 10
"""Entries of a list that a message shows."""
MAX_BITS = 256
"""Of an integer that a message shows; to write a long one takes quadratic time."""
HEAD = 512
"""Bytes of a file that are examined."""

MAGIC: tuple[tuple[tuple[bytes, ...], str], ...] = (
    (
        (b"version https://git-lfs", b"version https://hawser"),
        later("a Git LFS pointer: the file itself was not fetched; run git lfs pull"),
    ),
    (
        (b"<!doctype", b"<html", b"<head", b"<body", b"<?xml"),
        later("a web page saved under this name; download the file itself"),
    ),
    (
        (b"gguf",),
        later("a GGUF file of llama.cpp; get the model in PyTorch's or safetensors' format"),
    ),
)
"""The first bytes of a file in lower case, and what it is and what to do."""

BMINF = re.compile(rb"\0{4}[\1-\x40]\0{3}[\1-\x40]\0{3}[a-z_]{3,}")
"""The first bytes of a BMInf file: no parameters, some layers, the first one's length and name."""


def quoted(value: object, limit: int = 80) -> str:
    r"""Return a value of a file for a message, in ASCII and not too long.

    >>> quoted("a\u202e"), quoted(10**5000), quoted([1, 2])
    ("'a\\u202e'", 'an integer of 16,610 bits', '[1, 2]')
    """
    if isinstance(value, int) and value.bit_length() > MAX_BITS:
        return tr("an integer of {value:,} bits", value=value.bit_length())
    text = value[:limit] if isinstance(value, str) else value
    return ascii(text)[:limit]


def shortened(entries: Iterable[object], separator: str = "; ") -> str:
    """Return a list for a message: the first ten entries, and the number of the others.

    >>> shortened(["a", "b"], ", ")
    'a, b'
    >>> shortened(range(12), ", ")
    '0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more'
    """
    listed = [str(entry) for entry in entries]
    more = tr(" and {n_listed:,} more", n_listed=len(listed) - SHOWN) if len(listed) > SHOWN else ""
    return separator.join(listed[:SHOWN]) + more


def unreadable_kind(head: bytes) -> str | None:
    """Return what a file is, if it often lies under another file's name, and what to do.

    Args:
        head: the first bytes of the file.

    Returns:
        None for all other files.
    """
    start = head[:HEAD].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if BMINF.match(head):
        return tr("a BMInf file, in 8 bits and its own format; get CPM's own files instead")
    return next((tr(what) for marks, what in MAGIC if start.startswith(marks)), None)


def what_is_there(path: Path) -> str | None:
    """Return `unreadable_kind` of a file; None also if it cannot be opened or read."""
    try:
        if not path.is_file():  # to open a named pipe would wait for its other end
            return None
        with path.open("rb") as file:
            return unreadable_kind(file.read(HEAD))
    except OSError:
        return None
