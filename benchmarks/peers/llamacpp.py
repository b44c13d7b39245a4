"""llama.cpp, through its library, on a GGUF file of the same weights."""

from __future__ import annotations

import contextlib
import ctypes
from pathlib import Path

import llama_cpp
import numpy as np

from benchmarks.measuring import About
from benchmarks.peers.files import Files
from benchmarks.peers.gguf_file import read_per_token, write_gguf
from benchmarks.peers.interface import Stepping

__all__ = ["BITS", "gguf", "open_implementation"]

BITS = {"F32": 32, "F16": 16, "BF16": 16, "Q8_0": 8, "Q4_0": 4}
CELLS = 2048
"""Cells of the KV cache: 64 texts of 32 tokens."""
TEXTS = 64


def gguf(files: Files, form: str) -> Path:
    """Return the GGUF file of a number format."""
    return files.make(f"model-{form}.gguf", lambda path: write_gguf(path, files, form))


class LlamaCpp(Stepping):
    def __init__(self, files: Files, form: str, threads: int) -> None:
        path = gguf(files, form)
        llama_cpp.llama_backend_init()
        self.model = llama_cpp.llama_model_load_from_file(
            str(path).encode(), llama_cpp.llama_model_default_params()
        )
        options = llama_cpp.llama_context_default_params()
        options.n_ctx, options.n_batch, options.n_ubatch = CELLS, 512, 512
        options.n_seq_max, options.kv_unified = TEXTS, True
        options.n_threads = options.n_threads_batch = threads
        self.context = llama_cpp.llama_init_from_model(self.model, options)
        if not self.context:
            raise RuntimeError(f"llama.cpp does not open {path}")
        self.memory = llama_cpp.llama_get_memory(self.context)
        self.batch = llama_cpp.llama_batch_init(512, 0, TEXTS)
        self.vocab_size, self.length = files.config.vocab_size, 0
        flags = llama_cpp.llama_print_system_info().decode()
        self.about = About(
            version=f"llama.cpp of llama-cpp-python {llama_cpp.__version__}, {form}",
            build=f"{' '.join(flags.split())}, {threads} threads",
            bytes_per_token=read_per_token(path),
            bits=BITS[form],
            # GELU from a table of float16, keys and values in float16.
            tolerance=2e-3 if form == "F32" else None,
        )

    def begin(self, ids: np.ndarray, rows: int) -> np.ndarray:
        llama_cpp.llama_memory_clear(self.memory, False)
        self.length = len(ids)
        logits = self.run([(int(token), i, 0, i == len(ids) - 1) for i, token in enumerate(ids)])
        for text in range(1, rows):
            llama_cpp.llama_memory_seq_cp(self.memory, 0, text, -1, -1)
        return logits[0]

    def step(self, tokens: np.ndarray) -> np.ndarray:
        logits = self.run([(int(token), self.length, i, True) for i, token in enumerate(tokens)])
        self.length += 1
        return logits

    def run(self, entries: list[tuple[int, int, int, bool]]) -> np.ndarray:
        """Compute entries of (token, position, text, whether to return its logits)."""
        batch = self.batch
        batch.n_tokens = len(entries)
        for i, (token, position, text, wanted) in enumerate(entries):
            batch.token[i], batch.pos[i], batch.logits[i] = token, position, wanted
            batch.n_seq_id[i], batch.seq_id[i][0] = 1, text
        if failed := llama_cpp.llama_decode(self.context, batch):
            raise RuntimeError(f"llama_decode answered {failed}")
        count = sum(entry[3] for entry in entries)
        found = llama_cpp.llama_get_logits(self.context)  # waits for the computation
        return np.ctypeslib.as_array(found, (count, self.vocab_size))


@llama_cpp.llama_log_callback
def _quiet(level: int, text: bytes, _: ctypes.c_void_p) -> None:
    if level >= 4:  # an error
        with contextlib.suppress(UnicodeDecodeError):
            print(text.decode(), end="")


def open_implementation(files: Files, form: str, threads: int) -> LlamaCpp:
    llama_cpp.llama_log_set(_quiet, ctypes.c_void_p(0))
    return LlamaCpp(files, form, threads)
