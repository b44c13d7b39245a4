"""Signals that end a command: SIGINT (Ctrl-C), SIGTERM and SIGHUP.

Knows signals and exit codes; does not know the verbs. The first signal raises an exception in the
main thread, so that `finally` blocks run and delete what is half written: KeyboardInterrupt, or
SystemExit(128 + n) for the other two. A second Ctrl-C ends the process at once. Only the command
line does this; the library leaves signals as they are.

Python runs a handler between two of its own instructions. A framework that loads or compiles can
take many seconds for one, so once a framework is imported a handler in C ends the process if Python
does not come to it. What such an end leaves in a staging directory, the next writer deletes.
"""

from __future__ import annotations

import contextlib
import importlib.abc
import os
import signal
import sys
import time
import weakref
from collections.abc import Iterator, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import FrameType, ModuleType
from typing import NoReturn

__all__ = ["interrupted", "signals_end_the_command"]

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
        self.importing = 0
        """Frameworks that are being imported. Several abort if an exception comes out of a module
        in C++ that is half imported, so a signal then ends the process without one."""

    def on_signal(self, number: int, frame: FrameType | None) -> None:
        """Raise an exception on the first signal; end the process on another Ctrl-C."""
        if hasattr(signal, "alarm"):
            signal.alarm(0)  # not stuck
        now = time.monotonic()
        if self.number is None:
            self.number, self.at = number, now
            if self.importing:
                weakref.finalize._exitfunc()  # type: ignore[attr-defined]  # temporary directories
                leave(128 + number)
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


_received = Received()


def interrupted() -> bool:
    """Return whether a signal is ending the command: an error may be what a library made of it."""
    return _received.number is not None


class FrameworkWatch(importlib.abc.MetaPathFinder):
    """Knows when a framework is imported; that one is looked for does not count."""

    installed = False
    """Whether the handler in C is there."""

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
                if not self.installed:
                    self.installed = True
                    end_if_stuck()
                _received.importing += 1
                try:
                    load(module)
                finally:
                    _received.importing -= 1

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
    handled = [n for n in ENDING if signal.getsignal(n) is not signal.SIG_IGN]
    for number in handled:
        signal.signal(number, _received.on_signal)
    sys.unraisablehook = _received.on_unraisable
    sys.meta_path.insert(0, FrameworkWatch())
    try:
        yield
    finally:
        for number in handled:  # while Python ends, an exception would be a traceback
            signal.signal(number, signal.SIG_DFL)
        if _received.number is not None:
            leave(128 + _received.number)


def leave(code: int) -> NoReturn:
    """End the process without the end of Python, after all `finally` blocks.

    Python's end would wait for threads, free all memory piece by piece, call the functions of
    frameworks that may be half imported, and replace the exit code if code made from text, as that
    of a dataclass, was interrupted.
    """
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):  # closed, or never open
            stream.flush()
    os._exit(code)
