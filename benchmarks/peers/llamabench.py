"""`llama-bench`, llama.cpp's own program.

It prints no outputs; `llamacpp.py` checks those of the same library.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import numpy as np

from benchmarks.measuring import PREFILL, About
from benchmarks.peers.files import Files
from benchmarks.peers.gguf_file import read_per_token
from benchmarks.peers.interface import Implementation
from benchmarks.peers.llamacpp import BITS, gguf

__all__ = ["open_implementation"]


class LlamaBench(Implementation):
    def __init__(self, files: Files, form: str, threads: int) -> None:
        self.program = Path(os.environ["LLAMA_CPP_LIB_PATH"]) / "llama-bench"
        self.path, self.threads = gguf(files, form), threads
        self.seconds: dict[int, float] = {}
        self.vocab_size = files.config.vocab_size
        self.about = About(
            version=f"llama-bench, {form}",
            build=f"as llama.cpp, {threads} threads",
            bytes_per_token=read_per_token(self.path),
            bits=BITS[form],
        )

    def check(self) -> dict[str, np.ndarray]:
        return {}

    def decode(self, steps: int) -> float:
        """Measure prefill in the same run: the program is slow to start."""
        self.seconds[PREFILL], seconds = self.run(PREFILL, steps)
        return seconds / steps

    def prefill(self, tokens: int = PREFILL) -> float:
        if tokens in self.seconds:
            return self.seconds.pop(tokens)
        return self.run(tokens, 1)[0]

    def rows(self, count: int, steps: int) -> float:
        raise NotImplementedError(f"llama-bench has no batches of {count} texts, {steps} steps")

    def run(self, prompt: int, generated: int) -> tuple[float, float]:
        """Return the seconds of a prompt and of generating, each after the program's warm-up."""
        options = {"-m": self.path, "-p": prompt, "-n": generated, "-t": self.threads}
        command = [self.program, *(word for pair in options.items() for word in pair)]
        done = subprocess.run(
            [str(word) for word in (*command, "-r", 1, "-o", "json")],
            capture_output=True,
            text=True,
            check=True,
        )
        read, wrote = json.loads(done.stdout)
        return read["avg_ns"] / 1e9, wrote["avg_ns"] / 1e9


def open_implementation(files: Files, form: str, threads: int) -> LlamaBench:
    return LlamaBench(files, form, threads)
