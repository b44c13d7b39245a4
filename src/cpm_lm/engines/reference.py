"""The readable reference implementation of the network, in numpy float32, over `numpy_ops`.

Also the fallback engine: it needs nothing beyond the base package. The other engines are tested
against it. Knows arrays; does not know files of weights or text.
Source: the original's mpu/transformer.py and model/gpt2_modeling.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from cpm_lm.config import GPTConfig
from cpm_lm.engines.base import Engine, HostSession
from cpm_lm.numpy_ops import ACTIVATIONS, Weights, attention, layer_norm, linear, split_heads
from cpm_lm.shapes import Bool, Float32, Int32, Int64

__all__ = ["ReferenceEngine", "hidden_states"]


def hidden_states(
    w: Weights,
    config: GPTConfig,
    tokens: Int32[np.ndarray, " T"],
    positions: Int32[np.ndarray, " T"],
    visible: Bool[np.ndarray, "T S"],
    cache: Float32[np.ndarray, "L 2 C N H"],
    slots: Int32[np.ndarray, " T"],
    attended: Int64[np.ndarray, " S"] | None = None,
) -> Iterator[Float32[np.ndarray, "T D"]]:
    """Yield the embedding sum, each block's output and the final norm's; write the KV cache.

    Args:
        w: the weights by name.
        config: the model's shape.
        tokens: the new tokens.
        positions: the position of each.
        visible: which of the slots in `attended` each of them attends to.
        cache: the KV cache, by slot.
        slots: the slots to which the tokens' own keys and values are written.
        attended: the slots that any of the tokens attends to; by default the first S.
    """
    epsilon, act = config.layer_norm_epsilon, ACTIVATIONS[config.activation_function]
    past = slice(visible.shape[1]) if attended is None else attended
    x = w["wte.weight"][tokens] + w["wpe.weight"][positions]
    yield x
    for layer in range(config.n_layer):
        h = f"h.{layer}"
        qkv = linear(layer_norm(x, w, f"{h}.ln_1", epsilon), w, f"{h}.attn.c_attn")
        q, k, v = split_heads(qkv, config.n_head)
        cache[layer, 0, slots], cache[layer, 1, slots] = k, v
        attn = attention(q, cache[layer, 0, past], cache[layer, 1, past], visible)
        x = x + linear(attn.reshape(x.shape), w, f"{h}.attn.c_proj")
        inner = act(linear(layer_norm(x, w, f"{h}.ln_2", epsilon), w, f"{h}.mlp.c_fc"))
        x = x + linear(inner, w, f"{h}.mlp.c_proj")
        yield x
    yield layer_norm(x, w, "ln_f", epsilon)


class ReferenceEngine(Engine):
    """The reference engine: numpy, float32.

    Args:
        config: the model's shape.
        weights: float32 tensors by Hugging Face's GPT-2 names without the `transformer.` prefix.
    """

    name = "reference"

    def __init__(self, config: GPTConfig, weights: Weights) -> None:
        self.config = config
        self.weights = weights

    def session(self, capacity: int = 1024) -> ReferenceSession:
        """Open an empty session; its memory grows with the slots in use."""
        return ReferenceSession(self, capacity)


class ReferenceSession(HostSession):
    """A session whose KV cache doubles in size as the forest grows."""

    def __init__(self, engine: ReferenceEngine, capacity: int) -> None:
        super().__init__(engine.config, capacity)
        self._weights = engine.weights
        shape = (self.config.n_layer, 2, 0, self.config.n_head, self.config.head_size)
        self._cache = np.zeros(shape, np.float32)

    def _forward(self, tokens: Any, nodes: Any) -> Float32[np.ndarray, "T D"]:
        used = self._forest.used
        if (slots := self._cache.shape[2]) < used:
            more = min(max(used, 2 * slots, 64), self.capacity) - slots
            self._cache = np.pad(self._cache, ((0, 0), (0, 0), (0, more), (0, 0), (0, 0)))
        positions, visible = self._forest.depths(nodes), self._forest.visible(nodes, used)
        attended = np.flatnonzero(visible.any(axis=0))  # few of the slots of a wide forest
        for x in hidden_states(
            self._weights,
            self.config,
            tokens,
            positions,
            visible[:, attended],
            self._cache,
            nodes,
            attended,
        ):
            last = x
        return last

    def _logits(self, hidden: Any, rows: Int32[np.ndarray, " R"]) -> Float32[np.ndarray, "R V"]:
        return hidden[rows] @ self._weights["wte.weight"].T
