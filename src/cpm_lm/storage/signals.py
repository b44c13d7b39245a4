"""Clean up when the process is asked to end: by SIGTERM, or by SIGHUP when its terminal closes.

Knows signals; does not know what is cleaned. SIGINT is Python's own: it raises KeyboardInterrupt.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["cleaning_on_signals"]

NAMES = ("SIGTERM", "SIGHUP")


class Ended(BaseException):
    """A signal that ends the process has arrived."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@contextmanager
def cleaning_on_signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end the block like an exception, then the process, as they would.

    A signal that the program handles or ignores itself is left to it. Nothing is changed outside
    the main thread, where Python allows no handlers.
    """
    ours = [getattr(signal, name) for name in NAMES if hasattr(signal, name)]
    if threading.current_thread() is not threading.main_thread():
        ours = []
    ours = [number for number in ours if signal.getsignal(number) is signal.SIG_DFL]
    arrived: list[int] = []
    ending = False

    def handler(number: int, _: FrameType | None) -> None:
        arrived.append(number)
        if len(arrived) == 1 and not ending:  # a second signal does not interrupt the cleaning
            raise Ended(number)

    try:
        for number in ours:
            signal.signal(number, handler)
        yield
    finally:
        ending = True
        for number in ours:
            signal.signal(number, signal.SIG_DFL)
        if arrived:
            os.kill(os.getpid(), arrived[0])
