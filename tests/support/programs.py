"""Programs that run in a process of their own, because they end badly if something is wrong."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
PATIENCE = 60
"""Seconds after which a program counts as hanging: the machine may be busy."""


def run_program(code: str, *arguments: str, options: tuple[str, ...] = ()) -> tuple[int, str, str]:
    """Run Python code; return its exit code, what it printed, and its stderr."""
    done = subprocess.run(
        [sys.executable, *options, "-c", code, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    return done.returncode, done.stdout, done.stderr


class Started:
    """A program that prints `ready` when signals may come."""

    def __init__(self, code: str, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout
        line = self.process.stdout.readline()
        if line != "ready\n":
            raise AssertionError(f"{line!r}, {self.process.communicate(timeout=PATIENCE)[1]}")

    def send(self, *numbers: signal.Signals, pause: float = 0) -> tuple[int, str, str]:
        """Send signals; return the exit code, what was printed, and stderr."""
        for number in numbers:
            self.process.send_signal(number)
            time.sleep(pause)
        try:
            out, errors = self.process.communicate(timeout=PATIENCE)
        finally:
            self.process.kill()
            self.process.__exit__(None, None, None)
        return self.process.returncode, out, errors
