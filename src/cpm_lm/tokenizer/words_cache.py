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
import stat
import sys
import threading
from pathlib import Path
from typing import Any

from cpm_lm.tokenizer.words_source import WordSource
from cpm_lm.tokenizer.words_table import VERSION, DamagedTableError, WordTable, pack

__all__ = ["word_table"]

CACHE_FILE = f"words-{VERSION}.table"
FORMER_FILE = "dictionary.marshal"
"""Of version 0.2 and before."""

_lock = threading.Lock()
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
            _write(directory / CACHE_FILE, image)
        return image

    if directory and (image := _map(directory / CACHE_FILE)):
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


def _private_directory() -> Path | None:
    """Return our directory in the user's cache, or None if it cannot be created or trusted.

    It is trusted if it is a directory, not a link, belongs to this user and is closed to all other
    users (0700). On Windows the access list of the user's folder closes it.
    """
    try:
        directory = _user_cache() / "cpm-lm" / "jieba"
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        return directory if _is_trusted(directory.lstat(), stat.S_ISDIR, 0o077) else None
    except (OSError, RuntimeError):  # RuntimeError: the user has no home directory
        return None


def _is_trusted(status: os.stat_result, is_kind: Any, forbidden: int) -> bool:
    """Return whether a file is of a kind, is this user's, and has no forbidden permission."""
    if sys.platform == "win32":
        return bool(is_kind(status.st_mode))
    owned = status.st_uid == os.geteuid()
    return bool(is_kind(status.st_mode)) and owned and not status.st_mode & forbidden


def _map(path: Path) -> memoryview | None:
    """Return the bytes of a file, mapped; None if it is missing, empty or not trusted.

    The file is never written in place, so that its bytes do not change under a reader.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
        with os.fdopen(descriptor, "rb") as file:
            if not _is_trusted(os.fstat(descriptor), stat.S_ISREG, 0o022):
                return None
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except (OSError, ValueError):  # ValueError: it is empty
        return None


def _write(path: Path, image: bytes) -> None:
    """Write a file of a random name and rename it; a full or read-only disk is not an error."""
    import tempfile

    with contextlib.suppress(OSError):
        descriptor, temporary = tempfile.mkstemp(dir=path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(image)
            Path(temporary).replace(path)
            (path.parent / FORMER_FILE).unlink(missing_ok=True)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
