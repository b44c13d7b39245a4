"""The process of an implementation: one line of JSON is a call, one line is its result.

Between calls the process is suspended, so that its waiting threads take no time from others.
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

__all__ = ["ImplementationError", "Process"]

THREADS = "OMP_NUM_THREADS OPENBLAS_NUM_THREADS MKL_NUM_THREADS CPM_THREADS".split()


class ImplementationError(Exception):
    """An implementation did not start, or stopped; the message is one line."""


class Process:
    """Start the process of an implementation.

    Args:
        name: `library:format`.
        directory: of the model's files.
        threads: the same number for all.

    Raises:
        ImplementationError: it cannot run here.
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
                start_new_session=True,  # so that Ctrl-C reaches only the parent, which ends them
            )
        self.about = About(**self.result())

    def call(self, do: str, **options: Any) -> Any:
        """Resume the process, call, wait for the result, suspend it again."""
        assert self.process.stdin
        self.process.send_signal(signal.SIGCONT)
        print(json.dumps({"do": do, **options}), file=self.process.stdin, flush=True)
        return self.result()

    def result(self) -> Any:
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            self.close()
            raise ImplementationError(f"it stopped; its output is in {self.log}")
        answer = json.loads(line)
        if isinstance(answer, dict) and "failed" in answer:
            self.close()
            raise ImplementationError(answer["failed"].splitlines()[0])
        self.process.send_signal(signal.SIGSTOP)
        return answer

    def close(self) -> None:
        """End the process."""
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait()
