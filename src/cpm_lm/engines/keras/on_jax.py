"""The Keras model as JAX functions, with a KV cache in donated buffers.

Knows JAX and the Keras model; does not know forests or sessions. XLA compiles each function once
per shape, and `buckets` bounds the number of shapes.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np

from cpm_lm.engines.keras.buckets import bucket
from cpm_lm.engines.keras.program import Program
from cpm_lm.shapes import Bool, Float32, Int32

__all__ = ["JaxProgram"]


class JaxProgram(Program):
    """See `Program`. The cache is one pair per block: keys and values [1, N, S, H].

    Args:
        model: the Keras model. Its matrices are moved, so it cannot be called afterwards.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self.dtype = model.compute_dtype
        self.precision = "highest" if self.dtype == "float32" else None
        self.variables = model.variables
        self.weights = [_flattened(variable) for variable in self.variables]
        self._network = jax.jit(self._step)
        self._output = jax.jit(self._output_layer)
        self._write = jax.jit(_write_rows, donate_argnums=0)

    def rows(self, count: int) -> int:
        """Return the number of rows to which a call of `count` tokens is padded."""
        return bucket(count)

    def cache(self, slots: int, old: Any = None) -> list[Any]:
        """Return a cache with this many slots that begins with the slots of `old`."""
        N, H = self.model.config.n_head, self.model.config.head_size
        if old is None:
            empty = partial(jnp.zeros, (1, N, slots, H), self.dtype)
            return [(empty(), empty()) for _ in range(self.model.config.n_layer)]
        more = slots - old[0][0].shape[2]
        return jax.tree.map(lambda part: jnp.pad(part, ((0, 0), (0, 0), (0, more), (0, 0))), old)

    def step(
        self,
        tokens: Int32[np.ndarray, "1 T"],
        positions: Int32[np.ndarray, "1 T"],
        visible: Bool[np.ndarray, "1 T K"],
        cache: Any,
    ) -> tuple[Any, Any]:
        """Return the last hidden states [1, T, D], and keys and values [1, N, T, H] per block."""
        with self.compilations.timed(("step", visible.shape[1:])):
            hidden, new = self._network(self.weights, tokens, positions, visible, cache)
            hidden.block_until_ready()  # dispatch is asynchronous: errors and times belong here
        return hidden, new

    def write(self, cache: Any, new: Any, nodes: Int32[np.ndarray, " n"]) -> Any:
        """Write the first n new keys and values to these slots, in place; return the cache."""
        slots, T = cache[0][0].shape[2], new[0][0].shape[2]
        places = np.pad(nodes, (0, T - len(nodes)), constant_values=slots)
        with self.compilations.timed(("write", (T, slots))):
            return self._write(cache, new, places)

    def logits(self, hidden: Any, at: Int32[np.ndarray, " R"]) -> Float32[np.ndarray, "R V"]:
        """Return the logits of these rows."""
        if not len(at):
            return np.zeros((0, self.model.config.vocab_size), np.float32)
        rows = np.pad(at, (0, bucket(len(at)) - len(at)))
        with self.compilations.timed(("logits", (hidden.shape[1], len(rows)))):
            return np.asarray(self._output(self.weights, hidden, rows))[: len(at)]

    def _step(self, weights: Any, tokens: Any, positions: Any, visible: Any, cache: Any) -> Any:
        self.compilations.traces += 1
        with self._scope(weights), jax.default_matmul_precision(self.precision):
            states, new = self.model.forward(tokens, positions, visible, cache)
        return states[-1], new

    def _output_layer(self, weights: Any, hidden: Any, rows: Any) -> Any:
        self.compilations.traces += 1
        with self._scope(weights), jax.default_matmul_precision(self.precision):
            return self.model.logits(hidden[0][rows])

    def _scope(self, weights: Any) -> keras.StatelessScope:
        shaped = [w.reshape(v.shape) for w, v in zip(weights, self.variables, strict=True)]
        return keras.StatelessScope(state_mapping=list(zip(self.variables, shaped, strict=True)))


def _flattened(variable: Any) -> Any:
    """Return a kernel with axes of heads as a matrix of two axes, in the same memory.

    On a CPU, XLA's code for a vector times a matrix that it must reshape is 20 times slower.
    """
    if len(variable.shape) < 3:
        return variable.value
    shape = (-1, variable.shape[-1]) if len(variable.shape) == 3 else (variable.shape[0], -1)
    return jax.jit(lambda matrix: matrix.reshape(shape), donate_argnums=0)(variable.value)


def _write_rows(cache: Any, new: Any, places: Any) -> Any:
    """Return the cache with new rows at these slots; rows for slots past the end are dropped."""
    return jax.tree.map(
        lambda part, rows: part.at[:, :, places].set(rows, mode="drop"),
        cache,
        new,
    )
