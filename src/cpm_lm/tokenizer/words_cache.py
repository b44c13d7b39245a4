"""Keep the table of words in the user's cache, and map it into memory in the next run.

Knows the file; does not know the layout of the table, nor how jieba's data becomes one. The file's
name tells the layout, and the key in it tells which data it was made from, so that another jieba or
another release of ours makes its own. Without a directory that can be trusted, the table is made in
memory.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import sys
from pathlib import Path

from cpm_lm.fork_safe_lock import ForkSafeLock
from cpm_lm.storage.directory import Directory
from cpm_lm.storage.files import private_directory, read_private, replace_file
from cpm_lm.tokenizer.words_source import WordSource
from cpm_lm.tokenizer.words_table import VERSION, DamagedTableError, WordTable, pack

__all__ = ["word_table"]

CACHE_FILE = f"words-{VERSION}.table"
FORMER_FILE = "dictionary.marshal"
"""Of version 0.2 and before."""

_lock = ForkSafeLock()
_table: WordTable | None = None


def word_table() -> WordTable:
    """Return this process's table; the first call opens it, or makes it.

    Raises:
        TokenizerError: jieba's data is missing.
    """
    global _table
    if _table is None:
        with _lock:
            if _table is None:
                _table = _open()
    return _table


def _open() -> WordTable:
    """Return the table in the cache if it is trusted and of this data, else a new one."""
    source = WordSource()
    directory = _private_directory()

    def renew() -> bytes:
        image = pack(source.read(), source.key)
        if directory:
            _write(directory, image)
        return image

    if directory and (image := _map(directory)):
        with contextlib.suppress(DamagedTableError):
            return WordTable(image, source.key, renew)
    return WordTable(memoryview(renew()), source.key, renew)


def _user_cache() -> Path:
    """Return the platform's directory for a user's caches."""
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    named = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return named if named.is_absolute() else Path.home() / ".cache"


def _private_directory() -> Directory | None:
    """Return our directory in the user's cache, or None if it cannot be created or trusted."""
    try:
        return private_directory(_user_cache() / "cpm-lm" / "jieba")
    except (OSError, RuntimeError):  # RuntimeError: the user has no home directory
        return None


def _map(directory: Directory) -> memoryview | None:
    """Return the bytes of the file, mapped; None if it is missing, empty or not trusted.

    The file is never written in place, so that its bytes do not change under a reader.
    """
    try:
        with read_private(directory, CACHE_FILE) as file:
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except (OSError, ValueError):  # ValueError: it is empty
        return None


def _write(directory: Directory, image: bytes) -> None:
    """Replace the file; a full or read-only disk is not an error."""
    with contextlib.suppress(OSError):
        replace_file(directory, CACHE_FILE, lambda file: file.write(image))
        directory.unlink(FORMER_FILE)
