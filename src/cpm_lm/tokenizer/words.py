"""Split Chinese text into words with jieba, and cache jieba's dictionary between runs.

Knows words; does not know pieces or ids. jieba's own initialization is not used: it logs to stderr
and trusts a file in the shared temporary directory, where another user could place one.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import marshal
import os
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from cpm_lm.storage.directory import Directory
from cpm_lm.storage.files import private_directory, read_private, replace_file

__all__ = ["words"]

CACHE_FILE = "dictionary.marshal"
Counts = tuple[dict[str, int], int]
"""How often each word occurs, and the sum."""

_lock = threading.Lock()
_cutter: Any = None


def words(text: str) -> Iterator[str]:
    r"""Yield the words of a text in order; joined, they are the text.

    jieba.cut with its default dictionary, HMM on. The first call loads the dictionary, about 1 s.

    The text is split line by line, which bounds memory and does not change the words. jieba itself
    first splits a text at every character that is not Han, a letter, a digit or one of `+#&._%-`,
    and neither a word nor a state of the HMM spans such a character. Every newline is one. jieba
    keeps the pair `\r\n` together, and so does `splitlines`.
    """
    cutter = _jieba()
    for line in text.splitlines(keepends=True):
        yield from cutter.cut(line)


def _jieba() -> Any:
    """Return this process's jieba.Tokenizer; the first call loads it."""
    global _cutter
    with _lock:
        if _cutter is None:
            _cutter = _load()
        return _cutter


def _load() -> Any:
    with warnings.catch_warnings():
        # jieba 0.42.1 has invalid escapes in strings and may import pkg_resources.
        warnings.simplefilter("ignore")
        import jieba
    cutter = jieba.Tokenizer()
    with cutter.get_dict_file() as file:
        source = file.read()
    # A cache file is valid for one dictionary and one version of the marshal format.
    key = f"{hashlib.sha256(source).hexdigest()} {marshal.version} {sys.version_info[:2]}"
    cutter.FREQ, cutter.total = _cached(key, lambda: cutter.gen_pfdict(io.BytesIO(source)))
    cutter.initialized = True
    return cutter


def _user_cache() -> Path:
    """Return the platform's directory for a user's caches."""
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    named = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return named if named.is_absolute() else Path.home() / ".cache"


def _cached(key: str, compute: Callable[[], Counts]) -> Counts:
    """Return the dictionary from the cache; without a usable one, compute and cache it.

    The cache is used if its directory and its file are this user's and closed to all others. A full
    or read-only disk is not an error.
    """
    try:
        directory = private_directory(_user_cache() / "cpm-lm" / "jieba")
    except (OSError, RuntimeError):  # RuntimeError: the user has no home directory
        return compute()
    with directory:
        if (counts := _read(directory, key)) is None:
            counts = compute()
            with contextlib.suppress(OSError):
                content = (key, *counts)
                replace_file(directory, CACHE_FILE, lambda file: marshal.dump(content, file))
    return counts


def _read(directory: Directory, key: str) -> Counts | None:
    """Return the dictionary in the cache file, or None if it is not trusted or has another key."""
    try:
        with read_private(directory, CACHE_FILE) as file:
            found, counts, total = marshal.load(file)  # noqa: S302  (only this user can write it)
    except (OSError, EOFError, TypeError, ValueError):  # missing, truncated, of another version
        return None
    return (counts, total) if found == key else None
