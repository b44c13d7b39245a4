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
import stat
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cpm_lm.fork_safe_lock import ForkSafeLock

__all__ = ["words"]

CACHE_FILE = "dictionary.marshal"

_lock = ForkSafeLock()
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
    directory = _private_directory()
    counts = _read(directory / CACHE_FILE, key) if directory else None
    if counts is None:
        counts = cutter.gen_pfdict(io.BytesIO(source))
        if directory:
            _write(directory / CACHE_FILE, key, counts)
    cutter.FREQ, cutter.total = counts
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


def _read(path: Path, key: str) -> tuple[dict[str, int], int] | None:
    """Return the dictionary in a cache file, or None if it is not trusted or has another key."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
        with os.fdopen(descriptor, "rb") as file:
            if not _is_trusted(os.fstat(descriptor), stat.S_ISREG, 0o022):
                return None
            found, counts, total = marshal.load(file)  # noqa: S302  (only this user can write it)
    except (OSError, EOFError, TypeError, ValueError):  # missing, truncated, of another version
        return None
    return (counts, total) if found == key else None


def _write(path: Path, key: str, counts: tuple[dict[str, int], int]) -> None:
    """Cache the dictionary for the next run; a full or read-only disk is not an error."""
    with contextlib.suppress(OSError):
        descriptor, temporary = tempfile.mkstemp(dir=path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                marshal.dump((key, *counts), file)
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink()
            raise
