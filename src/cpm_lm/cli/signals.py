"""Signals that end a command: SIGINT (Ctrl-C), SIGTERM and SIGHUP.

Knows signals and exit codes; does not know the verbs. The first signal raises an exception in the
main thread, so that `finally` blocks run and delete what is half written: KeyboardInterrupt, or
SystemExit(128 + n) for the other two. A second Ctrl-C ends the process at once. Only the command
line does this; the library leaves signals as they are.

Python runs a handler between two of its own instructions. A framework that loads or compiles can
take many seconds for one, so once a framework is imported a handler in C ends the process if Python
does not come to it.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib.abc
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import FrameType, ModuleType

__all__ = ["signals_end_the_command"]

ENDING = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)
DOUBLE_SECONDS = 0.1
"""Signals that follow the first one this soon are the same: `timeout` sends each of them twice."""
FRAMEWORKS = ("jax", "keras", "tensorflow")
STUCK_SECONDS = 1
"""How long a framework may keep Python from handling a signal."""
SHOW_CURSOR = "\x1b[?25h\n"
"""Progress bars hide a terminal's cursor."""


class Received:
    """The first signal that was received, and the handler of all."""

    def __init__(self) -> None:
        self.number: int | None = None
        self.at = 0.0

    def on_signal(self, number: int, frame: FrameType | None) -> None:
        """Raise an exception on the first signal; end the process on another Ctrl-C."""
        if hasattr(signal, "alarm"):
            signal.alarm(0)  # not stuck
        now = time.monotonic()
        if self.number is None:
            self.number, self.at = number, now
            self.throw()
        if number == signal.SIGINT and now - self.at > DOUBLE_SECONDS:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)

    def throw(self) -> None:
        """Raise the exception of the first signal."""
        assert self.number is not None
        if self.number == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(128 + self.number)

    def on_unraisable(self, lost: sys.UnraisableHookArgs) -> None:
        """End the process where Python drops our exception, as in a weak reference's callback."""
        if self.number is not None and issubclass(lost.exc_type, KeyboardInterrupt | SystemExit):
            leave(128 + self.number)
        sys.__unraisablehook__(lost)


class FrameworkWatch(importlib.abc.MetaPathFinder):
    """Has the handler in C installed when a framework is imported, not when it is looked for."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec that Python itself finds; its loader installs the handler first."""
        if fullname not in FRAMEWORKS:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            load = spec.loader.exec_module

            def exec_module(module: ModuleType) -> None:
                if self in sys.meta_path:
                    sys.meta_path.remove(self)
                    end_if_stuck()
                load(module)

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def end_if_stuck() -> None:
    """Install the handler in C, if this installation has kernels."""
    try:
        from cpm_lm import _native as native
    except ImportError:  # a signal waits for the framework
        return
    drawn_on = sys.stderr is not None and sys.stderr.isatty()
    native.end_if_stuck(STUCK_SECONDS, SHOW_CURSOR if drawn_on else "")


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
    sys.unraisablehook = received.on_unraisable
    sys.meta_path.insert(0, FrameworkWatch())
    try:
        yield
    finally:
        for number in handled:  # while Python ends, an exception would be a traceback
            signal.signal(number, signal.SIG_DFL)
        if received.number is not None:
            leave(128 + received.number)


def leave(code: int) -> None:
    """Run what waits for the end of Python, and end the process.

    Python's own end would wait for threads, free all memory piece by piece, and replace the exit
    code if code made from text, as that of a dataclass, was interrupted.
    """
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):  # closed, or never open
            stream.flush()
    atexit._run_exitfuncs()
    os._exit(code)
