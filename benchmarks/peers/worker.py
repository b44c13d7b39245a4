"""One implementation in a process of its own: JSON lines in, JSON lines out.

    python -m benchmarks.peers.worker DIRECTORY IMPLEMENTATION THREADS

Knows the calls; does not know any library.
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
from benchmarks.peers.interface import Implementation

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
"""Seconds; an operation that takes longer is left out."""


class Worker:
    def __init__(self, implementation: Implementation, directory: Path, name: str) -> None:
        self.implementation = implementation
        self.kept = directory / f"logits-{name.replace(':', '-')}.npz"

    def check(self) -> str:
        """Write the logits of every timed operation, return the file's path."""
        logits: dict[str, Any] = self.implementation.check()
        np.savez(self.kept, **logits)
        return str(self.kept)

    def feasible(self, operation: str) -> bool:
        """Return whether an operation is fast enough, from a run at an eighth of its size."""
        try:
            if operation == "decode":
                return self.implementation.decode(2) < SLOW
            if operation == "prefill":
                return (
                    8 * self.implementation.prefill(16) < SLOW and self.implementation.prefill() > 0
                )
            count = int(operation.split()[1])
            return 8 * self.implementation.rows(count // 8, 1) < SLOW
        except NotImplementedError:
            return False

    def measure(self, operation: str, steps: int) -> float:
        """Return the seconds of one call."""
        if operation == "decode":
            return self.implementation.decode(steps)
        if operation == "prefill":
            return self.implementation.prefill()
        return self.implementation.rows(int(operation.split()[1]), max(1, steps // 4))


def main() -> None:
    directory, name, threads = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    results = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what a library prints goes to the log
    library, _, form = name.partition(":")
    module: Any = importlib.import_module(f"benchmarks.peers.{MODULES[library]}")
    try:
        implementation = module.open_implementation(Files(directory), form, threads)
    except Exception as error:  # a library may raise anything; the parent gets one line
        print(json.dumps({"failed": f"{type(error).__name__}: {error}"}), file=results)
        raise
    worker = Worker(implementation, directory, name)
    print(json.dumps(dataclasses.asdict(implementation.about)), file=results)
    for line in sys.stdin:
        call = json.loads(line)
        result = getattr(worker, call.pop("do"))(**call)
        print(json.dumps(result), file=results)


if __name__ == "__main__":
    main()
