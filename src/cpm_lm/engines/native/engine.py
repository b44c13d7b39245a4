"""The engine for CPUs: the network in terms of the C++ kernels in `native/`.

Knows the order of the kernels and the memory of a session; does not know how a kernel computes,
nor (see `weights`) how weights are stored. `engines/reference.py` is its readable counterpart.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np

import cpm_lm._native as kernels
from cpm_lm.checkpoints.dtypes import WEIGHTS
from cpm_lm.checkpoints.layouts.store import Store
from cpm_lm.config import GPTConfig
from cpm_lm.engines.base import Engine, HostSession
from cpm_lm.engines.machine import available_memory, cores
from cpm_lm.engines.native.weights import Tensors, Weights, Workspace
from cpm_lm.engines.options import EngineOptions
from cpm_lm.engines.wants import Answer, Want
from cpm_lm.errors import CapacityError, EngineError
from cpm_lm.shapes import Float32, Int32

__all__ = ["NativeEngine", "hidden_states", "open_native"]

Rows = Float32[np.ndarray, "..."]

GELU: dict[str, Literal["tanh", "erf"]] = {"gelu_new": "tanh", "gelu": "erf"}


def open_native(store: Store, options: EngineOptions) -> NativeEngine:
    """Load a store, whose matrices are memory-mapped and not copied; see `NativeEngine`."""
    return NativeEngine(
        store.config,
        {name: store.packed(name) or store.tensor(name) for name in store.names},
        store.weights,
        threads=options.thread_count,
        cache_dtype=options.cache_dtype or "f32",
        cache_bytes=options.cache_bytes,
    )


def hidden_states(
    pool: kernels.Pool,
    w: Weights,
    config: GPTConfig,
    tokens: Int32[np.ndarray, " T"],
    positions: Int32[np.ndarray, " T"],
    paths: kernels.Paths,
    cache: kernels.KeyValueCache,
    workspace: Workspace,
) -> Iterator[Rows]:
    """Yield the embedding sum, each block's output and the final norm's; write the KV cache.

    The next step of the iterator overwrites the array yielded, [T, D].

    Args:
        pool: the threads that compute.
        w: the weights.
        config: the model's shape.
        tokens: the new tokens.
        positions: the position of each.
        paths: the slots that each of them attends to, its own last.
        cache: the KV cache, by slot.
        workspace: for T rows.
    """
    layer_norm, linear, attention = kernels.layer_norm, kernels.linear, kernels.attention
    epsilon, kind = config.layer_norm_epsilon, GELU[config.activation_function]
    scale = 1 / math.sqrt(config.head_size)
    x, normed, qkv, attn, inner = (
        workspace.x,
        workspace.normed,
        workspace.qkv,
        workspace.attn,
        workspace.inner,
    )
    kernels.embedding(pool, tokens, positions, w.wte, w.wpe, x)
    yield x
    for layer, h in enumerate(w.blocks):
        layer_norm(pool, x, h.ln_1.weight, h.ln_1.bias, epsilon, normed)
        linear(pool, normed, h.c_attn, qkv)
        attention(pool, qkv, cache, layer, paths, scale, attn)
        linear(pool, attn, h.c_proj, x, True)  # True: add to x, the residual stream
        layer_norm(pool, x, h.ln_2.weight, h.ln_2.bias, epsilon, normed)
        linear(pool, normed, h.mlp_c_fc, inner)
        kernels.gelu(pool, inner, kind)
        linear(pool, inner, h.mlp_c_proj, x, True)
        yield x
    layer_norm(pool, x, w.ln_f.weight, w.ln_f.bias, epsilon, normed)
    yield normed


class NativeEngine(Engine):
    """The engine for CPUs, on weights in 32 to 4 bits; activations are float32.

    Before a product with weights in 8 or 4 bits, each row of activations is rounded to 16 bits.

    Batch-invariant: the logits of a node are equal to the bit whatever the other nodes of the
    call, its slices and the number of threads. Sessions may run in several threads; the kernels
    serve one call at a time.

    Args:
        config: the model's shape.
        weights: tensors by Hugging Face's GPT-2 names without the `transformer.` prefix, usually
            memory-mapped; bf16 as its bits in uint16, 8-bit and 4-bit matrices packed.
        element: the number format of all tensors: f32, f16 or bf16; or q8 or q4, where the
            tensors that are not packed are float32.
        threads: the number of threads; None for the physical cores this process may use.
        cache_dtype: the dtype of the KV cache, f32 or f16; f16 takes half the memory and rounds
            keys and values to 11 bits, which changes the logits.
        cache_bytes: the maximum size of one session's KV cache; None for the memory available
            when the cache grows.

    Raises:
        CheckpointError: a tensor is not aligned in its file.
        EngineError: an option is out of range.
    """

    name = "native"

    def __init__(
        self,
        config: GPTConfig,
        weights: Tensors,
        element: str,
        *,
        threads: int | None = None,
        cache_dtype: str = "f32",
        cache_bytes: int | None = None,
    ) -> None:
        if cache_dtype not in ("f32", "f16"):
            raise EngineError(
                "cache_dtype is {cache_dtype!r}; expected 'f32' or 'f16'", cache_dtype=cache_dtype
            )
        if cache_bytes is not None and cache_bytes < 1:
            raise EngineError(
                "cache_bytes is {cache_bytes}; at least 1 was expected", cache_bytes=cache_bytes
            )
        self.config = config
        self.element = element
        self.weights = Weights(config, weights, element if element in WEIGHTS else "f32")
        self.pool = shared_pool(threads or cores())
        self.cache_dtype: Any = cache_dtype
        self.cache_bytes = cache_bytes

    @property
    def threads(self) -> int:
        """The number of threads that compute."""
        return self.pool.threads

    def session(self, capacity: int = 1024) -> NativeSession:
        """Open an empty session; its KV cache grows with the nodes, without a copy."""
        return NativeSession(self, capacity)


class NativeSession(HostSession):
    """A session whose KV cache grows in chunks, up to a limit in bytes."""

    def __init__(self, engine: NativeEngine, capacity: int) -> None:
        super().__init__(engine.config, capacity)
        self._engine = engine
        c = engine.config
        self._cache = kernels.KeyValueCache(c.n_layer, c.n_head, c.head_size, engine.cache_dtype)
        self._workspace = Workspace(1, c.n_embd)

    @property
    def cache_bytes(self) -> int:
        """The present size of the KV cache in bytes."""
        return self._cache.slots * self._cache.slot_bytes

    def _compute(
        self,
        tokens: Int32[np.ndarray, " T"],
        nodes: Int32[np.ndarray, " T"],
        wants: Sequence[Want],
    ) -> list[Answer]:
        if self._cache.slots < self._forest.used:  # first, so that a failure computes nothing
            self._reserve(int(nodes.max()) + 1)
        return super()._compute(tokens, nodes, wants)

    def _forward(
        self, tokens: Int32[np.ndarray, " T"], nodes: Int32[np.ndarray, " T"]
    ) -> Float32[np.ndarray, "T D"]:
        if len(self._workspace.x) != len(tokens):
            self._workspace = Workspace(len(tokens), self.config.n_embd)
        pool, w, positions = self._engine.pool, self._engine.weights, self._forest.depths(nodes)
        paths = kernels.Paths.walk(self._forest.parents, nodes)
        states = hidden_states(
            pool, w, self.config, tokens, positions, paths, self._cache, self._workspace
        )
        return deque(states, maxlen=1)[0]

    def _logits(
        self, hidden: Float32[np.ndarray, "T D"], rows: Int32[np.ndarray, " R"]
    ) -> Float32[np.ndarray, "R V"]:
        logits = np.empty((len(rows), self.config.vocab_size), np.float32)
        kernels.linear(self._engine.pool, hidden[rows], self._engine.weights.wte, logits)
        return logits

    def _reserve(self, slots: int) -> None:
        """Grow the cache to hold `slots`.

        Raises:
            CapacityError: the limit or the memory does not allow it.
        """
        if slots <= self._cache.slots:
            return None
        cache, chunk = self._cache, self._cache.chunk_slots
        wanted = -(-slots // chunk) * chunk * cache.slot_bytes
        limit = self._engine.cache_bytes
        if limit is None and (available := available_memory()) is not None:
            limit = self.cache_bytes + available
        if limit is None or wanted <= limit:
            try:
                return cache.reserve(slots)
            except MemoryError:
                limit = self.cache_bytes
        raise CapacityError(
            "keys and values of {slots} nodes need {wanted:,} bytes ({slot_bytes:,} "
            "each, {chunk} at a time), and there is room for {limit:,}; release "
            "nodes, draw fewer samples at once, allow more cache_bytes, or keep them "
            "in 16 bits with cache_dtype='f16'",
            slots=slots,
            wanted=wanted,
            slot_bytes=cache.slot_bytes,
            chunk=chunk,
            limit=limit,
        )


_POOLS: dict[int, kernels.Pool] = {}
_POOLS_LOCK = threading.Lock()


def shared_pool(threads: int) -> kernels.Pool:
    """Return this process's pool with this number of threads; all engines share it."""
    with _POOLS_LOCK:
        if threads not in _POOLS:
            _POOLS[threads] = kernels.Pool(threads)
        return _POOLS[threads]
