"""One contender in a process of its own: JSON lines in, JSON lines out.

    python -m benchmarks.peers.worker DIRECTORY CONTENDER THREADS

Knows how questions are asked; does not know any library.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers.files import Files
from benchmarks.peers.interface import Contender

MODULES = {
    "ours": "ours",
    "llama.cpp": "llamacpp",
    "llama-bench": "llamabench",
    "ctranslate2": "ct2",
    "huggingface": "huggingface",
    "first-port": "first_port",
    "onnxruntime": "ort",
    "torch-int8": "torch_int8",
    "litert": "litert",
}
SLOW = 20.0
"""Seconds; an operation of which one call would take longer is left out."""


class Worker:
    def __init__(self, contender: Contender, directory: Path, name: str) -> None:
        self.contender = contender
        self.kept = directory / f"logits-{name.replace(':', '-')}.npz"

    def check(self) -> str:
        """Write the logits of every way that is timed, return the file's path."""
        logits: dict[str, Any] = self.contender.check()
        np.savez(self.kept, **logits)
        return str(self.kept)

    def feasible(self, operation: str) -> bool:
        """Do something of an eighth of the size, which warms up too; tell if the whole will do."""
        try:
            if operation == "decode":
                return self.contender.decode(2) < SLOW
            if operation == "prefill":
                return 8 * self.contender.prefill(16) < SLOW and self.contender.prefill() > 0
            count = int(operation.split()[1])
            return 8 * self.contender.rows(count // 8, 1) < SLOW
        except NotImplementedError:
            return False

    def measure(self, operation: str, steps: int) -> float:
        """Return the seconds of one call."""
        if operation == "decode":
            return self.contender.decode(steps)
        if operation == "prefill":
            return self.contender.prefill()
        return self.contender.rows(int(operation.split()[1]), max(1, steps // 4))


def main() -> None:
    directory, name, threads = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever a library prints goes to the log
    library, _, form = name.partition(":")
    module: Any = importlib.import_module(f"benchmarks.peers.{MODULES[library]}")
    try:
        contender = module.open_contender(Files(directory), form, threads)
    except Exception as error:  # whatever a library raises, one line says it
        print(json.dumps({"failed": f"{type(error).__name__}: {error}"}), file=answers)
        raise
    worker = Worker(contender, directory, name)
    print(json.dumps(dataclasses.asdict(contender.about)), file=answers)
    for line in sys.stdin:
        question = json.loads(line)
        answer = getattr(worker, question.pop("do"))(**question)
        print(json.dumps(answer), file=answers)


if __name__ == "__main__":
    main()
