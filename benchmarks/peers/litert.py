"""LiteRT with XNNPACK: int8 weights, a scale for each output, activations rounded as they come.

A step's graph has a cache of fixed size, which stays in its input tensors; the embedding is looked
up outside, as LiteRT's own language models do. Only the graph in use is open.
"""

from __future__ import annotations

import functools
import time
from importlib.metadata import version
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from benchmarks.measuring import PREFILL, About
from benchmarks.peers.files import Files
from benchmarks.peers.interface import SHORT, Stepping, prompt
from benchmarks.peers.litert_file import CELLS, write

__all__ = ["open_contender"]

HIDDEN = -1e9


class LiteRT(Stepping):
    def __init__(self, files: Files, form: str, threads: int) -> None:
        self.paths = {
            kind: files.make(
                f"litert-{form}-{kind}.tflite",
                functools.partial(write, store=files.f32, step=kind == "step"),
            )
            for kind in ("step", "prompt")
        }
        self.words, self.places = (files.f32.float32(f"{name}.weight") for name in ("wte", "wpe"))
        self.threads, self.vocab_size = threads, files.config.vocab_size
        self.opened: tuple[str, int] | None = None
        self.graph: Any = None
        self.about = About(
            version=f"ai-edge-litert {version('ai-edge-litert')}, {form}",
            build=f"wheel, XNNPACK, {threads} threads",
            bytes_per_token=self.paths["step"].stat().st_size,
            bits=8,
        )

    def open(self, kind: str, rows: int) -> None:
        """Have a graph ready for as many tokens or texts."""
        if self.opened == (kind, rows):
            return
        if self.opened is None or self.opened[0] != kind:
            self.opened = self.graph = None  # closed first: two would not fit
            self.graph = Interpreter(str(self.paths[kind]), num_threads=self.threads)
        self.inputs = [each["index"] for each in self.graph.get_input_details()]
        for each, index in zip(self.graph.get_input_details(), self.inputs, strict=True):
            shape = [rows if n < 0 else n for n in each["shape_signature"]]
            self.graph.resize_tensor_input(index, shape)
        self.graph.allocate_tensors()
        for past in self.inputs[2:]:  # hidden cells count as nothing only if they hold numbers
            self.graph.tensor(past)()[:] = 0
        self.outputs = [each["index"] for each in self.graph.get_output_details()]
        self.opened = kind, rows

    def whole(self, ids: np.ndarray) -> np.ndarray:
        """Compute a prompt in one call; logits after its last token, [V]."""
        T = len(ids)
        self.open("prompt", T)
        self.graph.set_tensor(self.inputs[0], self.words[ids] + self.places[:T])
        hidden = np.where(np.tri(T, dtype=bool), 0, HIDDEN).astype(np.float32)
        self.graph.set_tensor(self.inputs[1], hidden[None, None])
        self.graph.invoke()
        return self.graph.get_tensor(self.outputs[0])[0]

    def check(self) -> dict[str, np.ndarray]:
        return super().check() | {"whole": self.whole(prompt(SHORT + 1, self.vocab_size))}

    def prefill(self, tokens: int = PREFILL) -> float:
        ids = prompt(tokens, self.vocab_size)
        self.whole(ids)  # opens the graph; its first call is no measure
        start = time.perf_counter()
        self.whole(ids)
        return time.perf_counter() - start

    def rows(self, count: int, steps: int) -> float:
        return super().rows(count, min(steps, CELLS - SHORT))

    def begin(self, ids: np.ndarray, rows: int) -> np.ndarray:
        """Compute a prompt token by token: its own graph is timed by itself."""
        self.open("step", rows)
        self.length = 0
        return [self.step(np.repeat(token, rows))[0] for token in ids][-1]

    def step(self, tokens: np.ndarray) -> np.ndarray:
        self.graph.set_tensor(self.inputs[0], self.words[tokens] + self.places[self.length])
        seen = np.arange(CELLS + 1) < self.length
        seen[-1] = True  # the new token comes after the cache
        hidden = np.where(seen, 0, HIDDEN).astype(np.float32)
        self.graph.set_tensor(self.inputs[1], hidden[None, None, None])
        self.graph.invoke()
        for past, new in zip(self.inputs[2:], self.outputs[1:], strict=True):
            self.graph.tensor(past)()[:, :, self.length] = self.graph.tensor(new)()[:, :, 0]
        self.length += 1
        return self.graph.get_tensor(self.outputs[0])


def open_contender(files: Files, form: str, threads: int) -> LiteRT:
    return LiteRT(files, form, threads)
