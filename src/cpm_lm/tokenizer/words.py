"""Chinese text to words, by jieba; and where jieba's dictionary is kept between runs.

Knows words; does not know pieces or ids. jieba's own way of starting is not used: it logs to
stderr, and it trusts a file in the shared temporary directory, which any other user can plant.
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
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = ["words"]

CACHE_FILE = "dictionary.marshal"

_lock = threading.Lock()
_cutter: Any = None


def words(text: str) -> Iterator[str]:
    r"""Yield the words of a text, in order and complete: joined, they are the text again.

    jieba.cut with its default dictionary, HMM on. Its 1 s of loading is paid by the first call.

    The text is cut line by line, which bounds memory and changes nothing: jieba itself first
    splits a text at everything that is neither Han, letter, digit nor one of `+#&._%-`, and no
    word, nor the HMM's view of one, reaches across. No line end is among those characters, and
    `\r\n`, the one pair that jieba keeps together, `splitlines` keeps together as well.
    """
    cutter = _jieba()
    for line in text.splitlines(keepends=True):
        yield from cutter.cut(line)


def _jieba() -> Any:
    """Return the process's private jieba.Tokenizer; loaded once, whoever asks first."""
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
    # A cache is good for one dictionary and one marshal format only.
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
    """Return the directory where this platform's programs keep a user's caches."""
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    named = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return named if named.is_absolute() else Path.home() / ".cache"


def _private_directory() -> Path | None:
    """Return our directory in the user's cache, or None if it cannot be made or trusted.

    Trusted means: a real directory, not a link, of this user, closed to all others (0700). On
    Windows the user's own folder is closed by its access list.
    """
    try:
        directory = _user_cache() / "cpm-lm" / "jieba"
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        return directory if _own(directory.lstat(), stat.S_ISDIR, 0o077) else None
    except (OSError, RuntimeError):  # RuntimeError: the user has no home
        return None


def _own(status: os.stat_result, kind: Any, forbidden: int) -> bool:
    """Say whether a file is of this kind, is this user's, and has no forbidden permission."""
    if sys.platform == "win32":
        return bool(kind(status.st_mode))
    mine = status.st_uid == os.geteuid()
    return bool(kind(status.st_mode)) and mine and not status.st_mode & forbidden


def _read(path: Path, key: str) -> tuple[dict[str, int], int] | None:
    """Return the dictionary kept in a cache file, or None if it is not ours or not of `key`."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
        with os.fdopen(descriptor, "rb") as file:
            if not _own(os.fstat(descriptor), stat.S_ISREG, 0o022):
                return None
            found, counts, total = marshal.load(file)  # noqa: S302  (nobody else could write it)
    except (OSError, EOFError, TypeError, ValueError):  # missing, cut short, of another version
        return None
    return (counts, total) if found == key else None


def _write(path: Path, key: str, counts: tuple[dict[str, int], int]) -> None:
    """Keep the dictionary for the next run; a full disk or a read-only one is no error."""
    with contextlib.suppress(OSError):
        descriptor, temporary = tempfile.mkstemp(dir=path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                marshal.dump((key, *counts), file)
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink()
            raise
