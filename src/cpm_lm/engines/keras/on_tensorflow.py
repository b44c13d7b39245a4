"""The Keras model as TensorFlow functions, with a KV cache that is updated in place.

Knows TensorFlow and the Keras model; does not know forests or sessions. On a CPU the graph runs
without XLA, traced once for one row and once for more: oneDNN's products with transposed matrices
are faster there than XLA's, and nothing is compiled or padded. On other devices XLA compiles each
function once per shape, and `buckets` bounds the number of shapes.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf

from cpm_lm.engines.keras.buckets import bucket
from cpm_lm.engines.keras.program import Program
from cpm_lm.engines.keras.tensorflow_cpu import TransposedMatrices, multiply
from cpm_lm.gpt.layers import flat_product
from cpm_lm.gpt.policy import on_cpu
from cpm_lm.shapes import Bool, Float32, Int32

__all__ = ["TensorFlowProgram"]


class TensorFlowProgram(Program):
    """See `Program`. The cache is a list of tensors [N * S, H]: keys, then values, per block.

    Args:
        model: the Keras model. Without XLA its matrices are moved, so it cannot be called
            afterwards.
        xla: whether XLA compiles; by default on every device but a CPU.
    """

    def __init__(self, model: Any, *, xla: bool | None = None) -> None:
        super().__init__()
        self.model = model
        self.xla = not on_cpu() if xla is None else xla
        self.dtype = tf.as_dtype(model.compute_dtype)
        tf.config.experimental.enable_tensor_float_32_execution(False)
        embeddings = tf.cast(model.wte.embeddings.value, self.dtype)
        if self.xla:
            # Transposed once: a product that transposes the embedding itself is several times
            # slower.
            self.output = tf.transpose(embeddings)
            self._network = tf.function(self._step, autograph=False, jit_compile=True)
            self._output = tf.function(self._output_layer, autograph=False, jit_compile=True)
        else:
            self.output, self.matrices = embeddings, TransposedMatrices(model)  # no copy of float32
            self._network = self._by_rows(self._step, self._signature())
            rows = tf.TensorSpec([None], tf.int32)
            hidden = tf.TensorSpec([1, None, model.config.n_embd], self.dtype)
            self._output = self._by_rows(self._output_layer, [rows, hidden])

    def rows(self, count: int) -> int:
        """Return the number of rows to which a call of `count` tokens is padded."""
        return bucket(count) if self.xla else count

    def cache(self, slots: int, old: Any = None) -> list[tf.Tensor]:
        """Return a cache with this many slots that begins with the slots of `old`."""
        N, H = self.model.config.n_head, self.model.config.head_size
        if old is None:  # tf.fill, because equal tf.zeros may share memory, and `write` is in place
            empty = range(2 * self.model.config.n_layer)
            return [tf.fill([N * slots, H], tf.cast(0, self.dtype)) for _ in empty]
        by_head = [tf.reshape(part, [N, -1, H]) for part in old]
        more = slots - by_head[0].shape[1]
        return [tf.reshape(tf.pad(part, [[0, 0], [0, more], [0, 0]]), [-1, H]) for part in by_head]

    def step(
        self,
        tokens: Int32[np.ndarray, "1 T"],
        positions: Int32[np.ndarray, "1 T"],
        visible: Bool[np.ndarray, "1 T K"],
        cache: Any,
    ) -> tuple[Any, Any]:
        """Return the last hidden states [1, T, D], and keys and values [N * T, H] per block."""
        inputs = [tf.constant(array) for array in (tokens, positions, visible)]
        shape = visible.shape[1:] if self.xla else trace_name(tokens.shape[1])
        with self.compilations.timed(("step", shape)):
            return self._network(*inputs, cache)

    def write(self, cache: Any, new: Any, nodes: Int32[np.ndarray, " n"]) -> Any:
        """Write the first n new keys and values to these slots, in place; return the cache.

        The tensors' own memory is updated, so the time does not depend on the cache's size. It
        would with variables: TensorFlow copies one at the next read after a scattered write.
        """
        N = self.model.config.n_head
        slots, T = len(cache[0]) // N, len(new[0]) // N
        heads = np.arange(N, dtype=np.int32)[:, None]
        places = tf.constant((heads * slots + nodes).ravel())
        if len(nodes) < T:  # padded
            real = tf.constant((heads * T + np.arange(len(nodes), dtype=np.int32)).ravel())
            new = [tf.gather(rows, real) for rows in new]
        for old, rows in zip(cache, new, strict=True):
            tf.raw_ops.InplaceUpdate(x=old, i=places, v=rows)
        return cache

    def logits(self, hidden: Any, at: Int32[np.ndarray, " R"]) -> Float32[np.ndarray, "R V"]:
        """Return the logits of these rows."""
        if not len(at):
            return np.zeros((0, self.model.config.vocab_size), np.float32)
        rows = np.pad(at, (0, bucket(len(at)) - len(at))) if self.xla else at
        shape = (hidden.shape[1], len(rows)) if self.xla else trace_name(len(rows))
        with self.compilations.timed(("logits", shape)):
            logits = self._output(tf.constant(rows), hidden).numpy()
        return logits[: len(at)]

    def _by_rows(self, function: Any, signature: list[Any]) -> Any:
        """Return the function, traced once for one row (first argument) and once for more."""
        many, one = (
            tf.function(partial(function, one=one), autograph=False, input_signature=signature)
            for one in (False, True)
        )
        return lambda rows, *others: (one if rows.shape[-1] == 1 else many)(rows, *others)

    def _signature(self) -> list[Any]:
        ids = tf.TensorSpec([1, None], tf.int32)
        part = tf.TensorSpec([None, self.model.config.head_size], self.dtype)
        visible = tf.TensorSpec([1, None, None], tf.bool)
        return [ids, ids, visible, [part] * (2 * self.model.config.n_layer)]

    def _step(
        self, tokens: Any, positions: Any, visible: Any, cache: Any, *, one: bool = False
    ) -> tuple[Any, Any]:
        self.compilations.traces += 1
        N, H = self.model.config.n_head, self.model.config.head_size
        by_head = [tf.reshape(part, [1, N, -1, H]) for part in cache]
        past = list(zip(by_head[::2], by_head[1::2], strict=True))
        product = flat_product if self.xla else partial(self.matrices.product, one=one)
        states, new = self.model.forward(tokens, positions, visible, past, product=product)
        return states[-1], [tf.reshape(part, [-1, H]) for pair in new for part in pair]

    def _output_layer(self, rows: Any, hidden: Any, *, one: bool = False) -> Any:
        self.compilations.traces += 1
        chosen = tf.gather(hidden[0], rows)
        if self.xla:
            return tf.cast(tf.matmul(chosen, self.output), tf.float32)
        return tf.cast(multiply(self.output, chosen, one=one), tf.float32)


def trace_name(rows: int) -> str:
    """Return the name of the trace for this number of rows, without XLA."""
    return "one" if rows == 1 else "many"
