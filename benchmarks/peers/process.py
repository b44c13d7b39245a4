"""A contender seen from outside: its process, asked by a line and answered by a line.

Between its turns the process is stopped, so that threads that wait in a loop cost nobody time.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.measuring import About

__all__ = ["ContenderError", "Process"]

THREADS = "OMP_NUM_THREADS OPENBLAS_NUM_THREADS MKL_NUM_THREADS CPM_THREADS".split()


class ContenderError(Exception):
    """A contender did not start, or stopped; the message is one line."""


class Process:
    """Start a contender.

    Args:
        name: `library:format`.
        directory: of the model's files.
        threads: the same number for all.

    Raises:
        ContenderError: it cannot run here; says why.
    """

    def __init__(self, name: str, directory: Path, threads: int) -> None:
        self.name = name
        self.log = directory / f"log-{name.replace(':', '-')}.txt"
        environment = os.environ | dict.fromkeys(THREADS, str(threads))
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.peers.worker", directory, name, str(threads)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=environment,
                start_new_session=True,  # an interrupted run ends them here, not each by itself
            )
        self.about = About(**self.answer())

    def ask(self, do: str, **options: Any) -> Any:
        """Wake the contender, ask, wait for the answer, stop it again."""
        assert self.process.stdin
        self.process.send_signal(signal.SIGCONT)
        print(json.dumps({"do": do, **options}), file=self.process.stdin, flush=True)
        return self.answer()

    def answer(self) -> Any:
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            self.close()
            raise ContenderError(f"it stopped; its last words are in {self.log}")
        answer = json.loads(line)
        if isinstance(answer, dict) and "failed" in answer:
            self.close()
            raise ContenderError(answer["failed"].splitlines()[0])
        self.process.send_signal(signal.SIGSTOP)
        return answer

    def close(self) -> None:
        """End the process."""
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait()
