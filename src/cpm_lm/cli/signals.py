"""Signals that end a command: SIGINT (Ctrl-C), SIGTERM and SIGHUP.

Knows signals and exit codes; does not know the verbs. The first signal raises an exception in the
main thread, so that `finally` blocks run and delete what is half written: KeyboardInterrupt, or
SystemExit(128 + n) for the other two. A second Ctrl-C ends the process at once. Only the command
line does this; the library leaves signals as they are.
"""

from __future__ import annotations

import contextlib
import signal
import sys
import time
from collections.abc import Iterator
from types import FrameType

__all__ = ["signals_end_the_command"]

ENDING = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)
DOUBLE_SECONDS = 0.1
"""Signals that follow the first one this soon are the same: `timeout` sends each of them twice."""


class Received:
    """The first signal that was received, and the handler of all."""

    def __init__(self) -> None:
        self.number: int | None = None
        self.at = 0.0

    def on_signal(self, number: int, frame: FrameType | None) -> None:
        """Raise an exception on the first signal; end the process on another Ctrl-C."""
        now = time.monotonic()
        if self.number is None:
            self.number, self.at = number, now
            if number == signal.SIGINT:
                raise KeyboardInterrupt
            raise SystemExit(128 + number)
        if number == signal.SIGINT and now - self.at > DOUBLE_SECONDS:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)


@contextlib.contextmanager
def signals_end_the_command() -> Iterator[None]:
    """Let a signal in the block end the process with exit code 128 + n.

    This holds whatever the block does with the exception: a library may turn it into another. A
    signal that is ignored, as SIGHUP is under nohup, stays ignored.
    """
    received = Received()
    handled = [n for n in ENDING if signal.getsignal(n) is not signal.SIG_IGN]
    for number in handled:
        signal.signal(number, received.on_signal)
    try:
        yield
    finally:
        for number in handled:  # while Python ends, an exception would be a traceback
            signal.signal(number, signal.SIG_DFL)
        if received.number is not None:
            sys.exit(128 + received.number)
