"""A small random GPT, its exported program called with plain values, and its likeliest tokens."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from cpm_lm.config import GPTConfig
from cpm_lm.gpt.generating import generator
from cpm_lm.gpt.gpt import GPT

SMALL = GPTConfig(vocab_size=24, n_positions=20, n_embd=32, n_layer=2, n_head=2)
UNLIKELY = 23
"""An id whose embedding, and thus its logit, is zero: another id is always more probable."""


def small_gpt(config: GPTConfig = SMALL, seed: int = 300) -> GPT:
    """A model of fixed weights, whose likeliest tokens depend on all that they see."""
    made = GPT(config, name="gpt")
    for at, variable in enumerate(made.variables):
        if "kernel" in variable.path or "embeddings" in variable.path:
            scale = 0.6 if "kernel" in variable.path else 1.0 if "wpe" in variable.path else 0.4
            values = np.random.default_rng(seed + at).normal(size=variable.shape)
            variable.assign(scale * values)
    table = made.wte.embeddings.value.numpy()
    table[UNLIKELY] = 0
    made.wte.embeddings.assign(table)
    return made


class Calls:
    """A model's signatures, called with plain values."""

    def __init__(self, model: GPT, ends: tuple[int, ...] = (UNLIKELY,), **options: Any) -> None:
        self.module, self.signatures = generator(model, ends, **options)

    def __call__(self, inp: Any, length: Any, *rules: Any, **more: Any) -> np.ndarray:
        """Call `seeded`."""
        return self._drawn("seeded", [inp], length, *rules, **more)

    def padded(self, inp: Any, mask: Any, length: Any, *rules: Any, **more: Any) -> np.ndarray:
        """Call `padded_seeded`."""
        return self._drawn("padded_seeded", [inp, mask], length, *rules, **more)

    def _drawn(
        self,
        signature: str,
        ids: list[Any],
        length: Any,
        top_p: Any = 1.0,
        temperature: Any = 1.0,
        seed: int = 0,
    ) -> np.ndarray:
        return self.signatures[signature](
            *(tf.constant(x, tf.int64) for x in (*ids, length)),
            tf.constant(top_p, tf.float32),
            tf.constant(temperature, tf.float32),
            tf.constant(seed, tf.int64),
        ).numpy()


def greedy(model: GPT, ids: np.ndarray, length: int) -> np.ndarray:
    """The most probable tokens, each computed from the whole text without a cache."""
    for _ in range(length):
        # One extra id does not change the logits; Keras warns of a softmax over a single element.
        scores = np.asarray(model(np.pad(ids, ((0, 0), (0, 1)))))[:, -2]
        ids = np.concatenate([ids, scores.argmax(-1)[:, None]], 1)
    return ids
