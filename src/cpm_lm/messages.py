"""Parts of error messages that many modules need.

Knows text and the first bytes of files; does not know models or formats.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

__all__ = ["SHOWN", "shortened", "unreadable_kind", "what_is_there"]

SHOWN = 10
"""How many entries of a list a message shows."""
HEAD = 512
"""How many bytes of a file tell what kind it is."""

MAGIC: tuple[tuple[tuple[bytes, ...], str], ...] = (
    (
        (b"version https://git-lfs", b"version https://hawser"),
        "a Git LFS pointer: the file itself was not fetched; run git lfs pull",
    ),
    (
        (b"<!doctype", b"<html", b"<head", b"<body", b"<?xml"),
        "a web page saved under this name; download the file itself",
    ),
    ((b"gguf",), "a GGUF file of llama.cpp; get the model in PyTorch's or safetensors' format"),
)
"""How a file begins, in small letters, and what it is then and what to do."""

BMINF = re.compile(rb"\0{4}[\1-\x40]\0{3}[\1-\x40]\0{3}[a-z_]{3,}")
"""How a file of BMInf begins: no parameters, some layers, the length and name of the first."""


def shortened(entries: Iterable[object], separator: str = "; ") -> str:
    """Return a list for a message: the first ten entries, and how many there are beside.

    >>> shortened(["a", "b"], ", ")
    'a, b'
    >>> shortened(range(12), ", ")
    '0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more'
    """
    listed = [str(entry) for entry in entries]
    more = f" and {len(listed) - SHOWN:,} more" if len(listed) > SHOWN else ""
    return separator.join(listed[:SHOWN]) + more


def unreadable_kind(head: bytes) -> str | None:
    """Say what a file is that some other file was expected to be, and what to do about it.

    Args:
        head: how the file begins.

    Returns:
        None where it is none of the kinds that often lie under another file's name.
    """
    start = head[:HEAD].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if BMINF.match(head):
        return "a file of BMInf, in 8 bits and of its own form; get CPM's own files instead"
    return next((what for marks, what in MAGIC if start.startswith(marks)), None)


def what_is_there(path: Path) -> str | None:
    """Return `unreadable_kind` of a file; None also where it cannot be read at all."""
    try:
        with path.open("rb") as file:
            return unreadable_kind(file.read(HEAD))
    except OSError:
        return None
