"""The session that is reused from call to call.

Knows engines and sessions; does not know what they compute.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from cpm_lm.engines.base import Engine, Session
from cpm_lm.fork_safe_lock import ForkSafeLock

__all__ = ["SessionPool"]


class SessionPool:
    """Lends empty sessions of one engine, and keeps the last one that came back. Thread-safe."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._idle: Session | None = None
        self._lock = ForkSafeLock()

    @contextmanager
    def lend(self, capacity: int) -> Iterator[Session]:
        """Lend an empty session of at least this capacity; it is kept if it comes back empty."""
        with self._lock:
            session, self._idle = self._idle, None
        if session is None or session.capacity < capacity:
            session = self._engine.session(capacity)
        try:
            yield session
        finally:
            if not session.live:
                with self._lock:
                    self._idle = session

    def close(self) -> None:
        """Free the session that is kept."""
        with self._lock:
            self._idle = None
