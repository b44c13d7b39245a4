"""Our engine, on a store of any number format."""

from __future__ import annotations

import os
from importlib.metadata import version
from typing import Any

import numpy as np

from benchmarks.measuring import About
from benchmarks.peers.files import Files
from benchmarks.peers.interface import Stepping
from cpm_lm.engines.forest import chain
from cpm_lm.engines.select import open_engine

__all__ = ["BITS", "Ours", "open_implementation"]

BITS = {"f32": 32, "f16": 16, "bf16": 16, "q8": 8, "q4": 4}


class Ours(Stepping):
    def __init__(self, files: Files, form: str, threads: int) -> None:
        directory = files.store(form)
        name: Any = os.environ.get("CPM_BENCH_ENGINE", "native")
        self.engine = open_engine(directory, engine=name, threads=threads)
        self.vocab_size = files.config.vocab_size
        positions = files.config.n_positions * files.config.n_embd
        size = (directory / "model.safetensors").stat().st_size
        pool: Any = getattr(self.engine, "pool", None)
        self.about = About(
            version=f"cpm-lm {version('cpm-lm')}, {name} engine",
            build=f"{pool.instruction_set if pool else 'numpy'}, {threads} threads",
            # Positions have 16 bits where the matrices have fewer.
            bytes_per_token=size - positions * max(BITS[form], 16) // 8,
            bits=BITS[form],
        )
        self.session = self.engine.session(1024)
        self.root: np.ndarray | None = None
        self.nodes: np.ndarray | None = None

    def begin(self, ids: np.ndarray, rows: int) -> np.ndarray:
        if self.root is not None:
            self.session.release(self.root)
        nodes, logits = self.session.extend(ids, chain(len(ids)))
        self.root, self.nodes = nodes[:1], np.repeat(nodes[-1:], rows)
        return logits[0]

    def step(self, tokens: np.ndarray) -> np.ndarray:
        assert self.nodes is not None
        self.nodes, logits = self.session.extend(
            tokens, self.nodes, np.arange(len(tokens), dtype=np.int32)
        )
        return logits


def open_implementation(files: Files, form: str, threads: int) -> Ours:
    return Ours(files, form, threads)
