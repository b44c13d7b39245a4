"""The engines that run the Keras model, on TensorFlow or JAX.

Knows the forest and arrays; does not know the frameworks, which `on_tensorflow` and `on_jax` do.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from cpm_lm.checkpoints.layouts.store import Store
from cpm_lm.config import GPTConfig
from cpm_lm.engines.base import Engine, HostSession
from cpm_lm.engines.keras.program import Compilations, Program
from cpm_lm.gpt.backend import use_backend
from cpm_lm.gpt.load import keras_model
from cpm_lm.shapes import Bool, Float32, Int32

__all__ = ["KerasEngine", "open_keras"]

SMALLEST_CACHE = 256
"""The slots of a new session's KV cache, which doubles in size as the forest grows."""

DTYPES = {"f32": "float32", "f16": "float16", "bf16": "bfloat16"}


def open_keras(store: Store, backend: str, threads: int | None = None) -> KerasEngine:
    """Load a store into the engine `tensorflow` or `jax`.

    Weights stored in 16 bits stay in 16 bits; those in 8 or 4 bits are dequantized to float32.

    Raises:
        EngineError: the backend is not installed, or cannot run as asked in this process.
    """
    dtype = DTYPES.get(store.weights, "float32")
    use_backend(backend, threads)
    return KerasEngine(keras_model(store, dtype=dtype))


class KerasEngine(Engine):
    """The Keras model, compiled for a bounded number of shapes.

    Args:
        model: the model, on the backend that Keras runs on. The engine takes ownership of its
            weights, so the model cannot be called afterwards.
    """

    def __init__(self, model: Any) -> None:
        import keras

        self.name = keras.config.backend()
        self.config: GPTConfig = model.config
        self.program = _program(model, self.name)

    @property
    def compilations(self) -> Compilations:
        """The compiled shapes and their compilation times in seconds."""
        return self.program.compilations

    def session(self, capacity: int = 1024) -> KerasSession:
        """Open an empty session; its KV cache doubles in size, up to the capacity."""
        return KerasSession(self, capacity)


class KerasSession(HostSession):
    """A session whose KV cache is on the model's device."""

    def __init__(self, engine: KerasEngine, capacity: int) -> None:
        super().__init__(engine.config, capacity)
        self._program = engine.program
        self._slots = 0
        self._cache: Any = None

    def _forward(self, tokens: Int32[np.ndarray, " T"], nodes: Int32[np.ndarray, " T"]) -> Any:
        self._reserve()
        rows = self._program.rows(len(nodes))
        positions = self._forest.depths(nodes)
        hidden, new = self._program.step(
            _padded(tokens, rows), _padded(positions, rows), self._visible(nodes, rows), self._cache
        )
        self._cache = self._program.write(self._cache, new, nodes)
        return hidden

    def _logits(self, hidden: Any, rows: Int32[np.ndarray, " R"]) -> Float32[np.ndarray, "R V"]:
        return self._program.logits(hidden, rows)

    def _reserve(self) -> None:
        """Grow the cache to hold the forest; it is kept small, as attention reads all its slots."""
        slots = max(self._slots, min(SMALLEST_CACHE, self.capacity))
        while slots < self._forest.used:
            slots = min(2 * slots, self.capacity)
        if slots > self._slots:
            self._cache = self._program.cache(slots, self._cache)
            self._slots = slots

    def _visible(self, nodes: Int32[np.ndarray, " T"], rows: int) -> Bool[np.ndarray, "1 R K"]:
        """Return which slots (first) and which rows of this call (last) each row attends to."""
        visible = np.zeros((1, rows, self._slots + rows), bool)
        slots = self._forest.visible(nodes, self._slots)
        visible[0, : len(nodes), self._slots : self._slots + len(nodes)] = slots[:, nodes]
        slots[:, nodes] = False  # `write` fills the new nodes' slots after the step
        visible[0, : len(nodes), : self._slots] = slots
        return visible


def _padded(values: Int32[np.ndarray, " T"], rows: int) -> Int32[np.ndarray, "1 R"]:
    return np.pad(values, (0, rows - len(values)))[None]


def _program(model: Any, name: str) -> Program:
    if name == "jax":
        from cpm_lm.engines.keras.on_jax import JaxProgram

        return JaxProgram(model)
    from cpm_lm.engines.keras.on_tensorflow import TensorFlowProgram

    return TensorFlowProgram(model)
