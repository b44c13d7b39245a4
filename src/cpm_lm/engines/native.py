"""The engine for CPUs: the network stated over kernels that are compiled from `native/`.

Knows the formula, where weights lie and how much memory a session takes; does not know how a
kernel computes. Weight matrices are used where the store has them, in its mapped file, in 32 to
4 bits; only biases and norms are widened.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float32, Int32

import cpm_lm._native as kernels
from cpm_lm.checkpoints.packing import Packed
from cpm_lm.checkpoints.store import Store
from cpm_lm.checkpoints.tensors import WEIGHTS, Array, widen
from cpm_lm.config import GPTConfig
from cpm_lm.engines.base import Engine, Session
from cpm_lm.engines.machine import available_memory, cores
from cpm_lm.errors import CapacityError, CheckpointError, EngineError

__all__ = ["NativeEngine", "hidden_states", "open_native"]

Rows = Float32[np.ndarray, "..."]

GELU: dict[str, Literal["tanh", "erf"]] = {"gelu_new": "tanh", "gelu": "erf"}


def open_native(
    directory: str | Path,
    threads: int | None = None,
    *,
    cache_dtype: str = "f32",
    cache_bytes: int | None = None,
) -> NativeEngine:
    """Map a store and start at once; see `NativeEngine`.

    Raises:
        CheckpointError: there is no store, or it is damaged.
    """
    store = Store.open(directory)
    return NativeEngine(
        store.config,
        {name: store.packed(name) or store.tensor(name) for name in store.names},
        store.weights,
        threads=threads,
        cache_dtype=cache_dtype,
        cache_bytes=cache_bytes,
    )


@dataclass(frozen=True)
class Norm:
    """Scale and shift of a layer norm, float32[D]."""

    weight: Float32[np.ndarray, " D"]
    bias: Float32[np.ndarray, " D"]


@dataclass(frozen=True)
class Block:
    """The weights of one layer."""

    ln_1: Norm
    c_attn: kernels.Matrix
    c_proj: kernels.Matrix
    ln_2: Norm
    mlp_c_fc: kernels.Matrix
    mlp_c_proj: kernels.Matrix


Tensors = Mapping[str, Array | Packed]


class Weights:
    """All weights as the kernels take them.

    Args:
        config: the model's shape.
        tensors: by Hugging Face's GPT-2 names without the `transformer.` prefix; bf16 as its bits.
        element: the type of all that are not packed: f32, f16 or bf16.
    """

    def __init__(self, config: GPTConfig, tensors: Tensors, element: Any) -> None:
        def vector(name: str) -> Float32[np.ndarray, " D"]:
            values = tensors[name]
            assert isinstance(values, np.ndarray)
            return np.array(widen(values, WEIGHTS[element]))

        def norm(name: str) -> Norm:
            return Norm(vector(f"{name}.weight"), vector(f"{name}.bias"))

        def matrix(name: str, *, transposed: bool = False) -> kernels.Matrix:
            values = tensors[f"{name}.weight"]
            bias = None if transposed else vector(f"{name}.bias")
            if isinstance(values, Packed):
                bits: Any = f"q{values.bits}"
                inputs = values.shape[1]
                return kernels.Matrix.quantized(
                    values.codes, values.scales, bits, inputs, bias=bias
                )
            if not values.flags.aligned:
                raise CheckpointError(
                    f"{name}.weight does not lie at a multiple of {values.itemsize} bytes in its "
                    "file, as its numbers must; write the model again with cpm convert"
                )
            return kernels.Matrix(values, element, transposed=transposed, bias=bias)

        self.wte = matrix("wte", transposed=True)
        self.wpe = matrix("wpe", transposed=True)
        self.blocks = [
            Block(
                ln_1=norm(f"h.{i}.ln_1"),
                c_attn=matrix(f"h.{i}.attn.c_attn"),
                c_proj=matrix(f"h.{i}.attn.c_proj"),
                ln_2=norm(f"h.{i}.ln_2"),
                mlp_c_fc=matrix(f"h.{i}.mlp.c_fc"),
                mlp_c_proj=matrix(f"h.{i}.mlp.c_proj"),
            )
            for i in range(config.n_layer)
        ]
        self.ln_f = norm("ln_f")

    @property
    def read_bytes(self) -> int:
        """What a step reads of them: every matrix but the positions, of which it needs few rows."""
        blocks = ((h.c_attn, h.c_proj, h.mlp_c_fc, h.mlp_c_proj) for h in self.blocks)
        return self.wte.nbytes + sum(matrix.nbytes for block in blocks for matrix in block)


class Scratch:
    """Room for the activations of T rows; every layer uses it again."""

    def __init__(self, T: int, D: int) -> None:
        self.x = np.empty((T, D), np.float32)
        self.normed = np.empty((T, D), np.float32)
        self.qkv = np.empty((T, 3 * D), np.float32)
        self.mixed = np.empty((T, D), np.float32)
        self.inner = np.empty((T, 4 * D), np.float32)


def hidden_states(
    pool: kernels.Pool,
    w: Weights,
    config: GPTConfig,
    tokens: Int32[np.ndarray, " T"],
    positions: Int32[np.ndarray, " T"],
    paths: kernels.Paths,
    cache: kernels.KeyValueCache,
    room: Scratch,
) -> Iterator[Rows]:
    """Yield the embedding sum, each block's output and the final norm's; fill the cache's slots.

    What is yielded, [T, D], is overwritten by the next.

    Args:
        pool: the threads that compute.
        w: the weights.
        config: the model's shape.
        tokens: the new tokens.
        positions: where they stand.
        paths: which slots each of them attends to, its own last.
        cache: keys and values by slot.
        room: for as many rows as there are tokens.
    """
    layer_norm, linear, attention = kernels.layer_norm, kernels.linear, kernels.attention
    epsilon, kind = config.layer_norm_epsilon, GELU[config.activation_function]
    scale = 1 / math.sqrt(config.head_size)
    x, normed, qkv, mixed, inner = room.x, room.normed, room.qkv, room.mixed, room.inner
    kernels.embedding(pool, tokens, positions, w.wte, w.wpe, x)
    yield x
    for layer, h in enumerate(w.blocks):
        layer_norm(pool, x, h.ln_1.weight, h.ln_1.bias, epsilon, normed)
        linear(pool, normed, h.c_attn, qkv)
        attention(pool, qkv, cache, layer, paths, scale, mixed)
        linear(pool, mixed, h.c_proj, x, True)  # x + ...
        layer_norm(pool, x, h.ln_2.weight, h.ln_2.bias, epsilon, normed)
        linear(pool, normed, h.mlp_c_fc, inner)
        kernels.gelu(pool, inner, kind)
        linear(pool, inner, h.mlp_c_proj, x, True)
        yield x
    layer_norm(pool, x, w.ln_f.weight, w.ln_f.bias, epsilon, normed)
    yield normed


class NativeEngine(Engine):
    """The kernels, on weights in 32 to 4 bits; float32 activations.

    Before a product with weights in 8 or 4 bits, each row of activations is rounded to 16 bits.

    A node's logits do not change by one bit with the other nodes of the call, its slicing or the
    number of threads. Sessions of several threads take turns at the kernels.

    Args:
        config: the model's shape.
        weights: tensors by Hugging Face's GPT-2 names without the `transformer.` prefix, usually
            mapped; bf16 as its bits in uint16, matrices in 8 and 4 bits packed.
        element: the type of all of them: f32, f16, bf16, or q8 or q4, where what is not packed is
            float32.
        threads: how many compute; None for the physical cores this process may use.
        cache_dtype: how keys and values are kept, f32 or f16; f16 takes half the memory, and
            moves logits by what rounding to 11 bits does.
        cache_bytes: the most memory for keys and values of one session; None for what the
            machine has left when it is needed.

    Raises:
        CheckpointError: a tensor's place in its file is not a multiple of its numbers' size.
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
            raise EngineError(f"cache_dtype is {cache_dtype!r}; expected 'f32' or 'f16'")
        if cache_bytes is not None and cache_bytes < 1:
            raise EngineError(f"cache_bytes is {cache_bytes}; at least 1 was expected")
        self.config = config
        self.element = element
        self.weights = Weights(config, weights, element if element in WEIGHTS else "f32")
        self.pool = pool_of(threads or cores())
        self.cache_dtype: Any = cache_dtype
        self.cache_bytes = cache_bytes

    @property
    def threads(self) -> int:
        """How many threads compute."""
        return self.pool.threads

    def session(self, capacity: int = 1024) -> NativeSession:
        """Open an empty session; memory is taken as nodes need it, and never moved."""
        return NativeSession(self, capacity)


class NativeSession(Session):
    """A cache of keys and values that grows by chunks, up to a limit in bytes."""

    def __init__(self, engine: NativeEngine, capacity: int) -> None:
        super().__init__(engine.config, capacity)
        self._engine = engine
        c = engine.config
        self._cache = kernels.KeyValueCache(c.n_layer, c.n_head, c.head_size, engine.cache_dtype)
        self._room = Scratch(1, c.n_embd)

    @property
    def cache_bytes(self) -> int:
        """The memory that keys and values take now."""
        return self._cache.slots * self._cache.slot_bytes

    def _sliced(
        self,
        tokens: Int32[np.ndarray, " T"],
        nodes: Int32[np.ndarray, " T"],
        logits_at: Int32[np.ndarray, " R"],
    ) -> Float32[np.ndarray, "R V"]:
        if self._cache.slots < self._forest.used:  # before anything is computed
            self._reserve(int(nodes.max()) + 1)
        return super()._sliced(tokens, nodes, logits_at)

    def _forward(
        self,
        tokens: Int32[np.ndarray, " T"],
        nodes: Int32[np.ndarray, " T"],
        logits_at: Int32[np.ndarray, " R"],
    ) -> Float32[np.ndarray, "R V"]:
        if len(self._room.x) != len(tokens):
            self._room = Scratch(len(tokens), self.config.n_embd)
        pool, w, positions = self._engine.pool, self._engine.weights, self._forest.depths(nodes)
        paths = kernels.Paths.walk(self._forest.parents, nodes)
        states = hidden_states(
            pool, w, self.config, tokens, positions, paths, self._cache, self._room
        )
        last = deque(states, maxlen=1)[0]
        logits = np.empty((len(logits_at), self.config.vocab_size), np.float32)
        kernels.linear(pool, last[logits_at], w.wte, logits)
        return logits

    def _reserve(self, slots: int) -> None:
        """Make room for so many slots, if that keeps within the limit."""
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
            f"keys and values of {slots} nodes need {wanted:,} bytes "
            f"({cache.slot_bytes:,} each, {chunk} at a time), and there is room for {limit:,}; "
            "release nodes, draw fewer samples at once, allow more cache_bytes, or keep them in "
            "16 bits with cache_dtype='f16'"
        )


_POOLS: dict[int, kernels.Pool] = {}
_LOCK = threading.Lock()


def pool_of(threads: int) -> kernels.Pool:
    """Return this process's pool of so many threads; all engines share it."""
    with _LOCK:
        if threads not in _POOLS:
            _POOLS[threads] = kernels.Pool(threads)
        return _POOLS[threads]
