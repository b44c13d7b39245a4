"""A lock that a fork waits for.

Knows threads and forks; does not know what is protected. A forked child has only the thread that
forked. A lock that another thread held would stay locked there for ever, and what it protects would
be half done. So a fork first takes all these locks, and both processes then give them back.
"""

from __future__ import annotations

import os
import threading
import weakref
from types import TracebackType

__all__ = ["ForkSafeLock"]


class ForkSafeLock:
    """A lock for `with`. Its holder must neither take another lock of this kind nor fork."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        with _all_lock:
            _all.add(self)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._lock.release()


_all: weakref.WeakSet[ForkSafeLock] = weakref.WeakSet()
_all_lock = threading.Lock()
_taken: list[ForkSafeLock] = []
"""What the fork in progress holds, with `_all_lock`."""


def _take_all() -> None:
    _all_lock.acquire()
    _taken.extend(_all)
    for lock in _taken:
        lock.__enter__()


def _give_back() -> None:
    for lock in _taken:
        lock.__exit__(None, None, None)
    _taken.clear()
    _all_lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_take_all, after_in_parent=_give_back, after_in_child=_give_back)
