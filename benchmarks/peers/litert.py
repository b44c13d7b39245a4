"""LiteRT with XNNPACK: int8 weights, a scale for each output, activations quantized dynamically.

A step's graph has a KV cache of fixed size in its input tensors; the embedding is looked up outside
the graph, as LiteRT's own language models do. Only the graph in use is open.
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

__all__ = ["open_implementation"]

MASKED = -1e9


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
        """Open a graph for this number of tokens or texts."""
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
        for past in self.inputs[
            2:
        ]:  # a masked cell must be finite: its weight, 0, times NaN is NaN
            self.graph.tensor(past)()[:] = 0
        self.outputs = [each["index"] for each in self.graph.get_output_details()]
        self.opened = kind, rows

    def prefill_logits(self, ids: np.ndarray) -> np.ndarray:
        """Prefill in one call; return the logits after the last token, [V]."""
        T = len(ids)
        self.open("prompt", T)
        self.graph.set_tensor(self.inputs[0], self.words[ids] + self.places[:T])
        mask = np.where(np.tri(T, dtype=bool), 0, MASKED).astype(np.float32)
        self.graph.set_tensor(self.inputs[1], mask[None, None])
        self.graph.invoke()
        return self.graph.get_tensor(self.outputs[0])[0]

    def check(self) -> dict[str, np.ndarray]:
        return super().check() | {
            "prefill graph": self.prefill_logits(prompt(SHORT + 1, self.vocab_size))
        }

    def prefill(self, tokens: int = PREFILL) -> float:
        ids = prompt(tokens, self.vocab_size)
        self.prefill_logits(ids)  # warm-up: it opens the graph
        start = time.perf_counter()
        self.prefill_logits(ids)
        return time.perf_counter() - start

    def rows(self, count: int, steps: int) -> float:
        return super().rows(count, min(steps, CELLS - SHORT))

    def begin(self, ids: np.ndarray, rows: int) -> np.ndarray:
        """Compute a prompt token by token with the graph of a step; `prefill` times the other."""
        self.open("step", rows)
        self.length = 0
        return [self.step(np.repeat(token, rows))[0] for token in ids][-1]

    def step(self, tokens: np.ndarray) -> np.ndarray:
        self.graph.set_tensor(self.inputs[0], self.words[tokens] + self.places[self.length])
        seen = np.arange(CELLS + 1) < self.length
        seen[-1] = True  # the new token comes after the cache
        mask = np.where(seen, 0, MASKED).astype(np.float32)
        self.graph.set_tensor(self.inputs[1], mask[None, None, None])
        self.graph.invoke()
        for past, new in zip(self.inputs[2:], self.outputs[1:], strict=True):
            self.graph.tensor(past)()[:, :, self.length] = self.graph.tensor(new)()[:, :, 0]
        self.length += 1
        return self.graph.get_tensor(self.outputs[0])


def open_implementation(files: Files, form: str, threads: int) -> LiteRT:
    return LiteRT(files, form, threads)
