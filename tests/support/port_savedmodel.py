"""SavedModels as the first TensorFlow port wrote them; its model is rewritten here.

Attributes and layers have the names of its tf2gpt/model.py; queries, keys and values are three
layers; Keras 2's `save` writes the files, with the arguments and the signature of its conversion
notebooks. Keras 2 is the package tf-keras today.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

layers = tf_keras.layers


class Attention(tf_keras.layers.Layer):
    def __init__(self, width: int, heads: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.heads, self.width = heads, width
        self.query = layers.Dense(width, name="query_layer")
        self.key = layers.Dense(width, name="key_layer")
        self.value = layers.Dense(width, name="value_layer")
        self.proj = layers.Dense(width, name="context_projection_layer")

    def call(self, x: Any) -> Any:
        T, size = tf.shape(x)[1], self.width // self.heads
        # The order of the variables in the published files.
        q, k, v = (
            tf.transpose(tf.reshape(layer(x), [-1, T, self.heads, size]), [0, 2, 1, 3])
            for layer in (self.query, self.key, self.value)
        )
        scores = tf.matmul(q, k, transpose_b=True) / math.sqrt(size)
        seen = tf.linalg.band_part(tf.ones([T, T], scores.dtype), -1, 0)
        mixed = tf.matmul(tf.nn.softmax(scores * seen - 1e4 * (1 - seen)), v)
        return self.proj(tf.reshape(tf.transpose(mixed, [0, 2, 1, 3]), [-1, T, self.width]))


class Transformer(tf_keras.layers.Layer):
    def __init__(self, width: int, heads: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.attn = Attention(width, heads, name="attention")
        self.ln0 = layers.LayerNormalization(epsilon=1e-5, name="LayerNorm_mlp_ln0")
        self.ln1 = layers.LayerNormalization(epsilon=1e-5, name="LayerNorm_mlp_ln1")
        self.intermediate_layer = layers.Dense(4 * width, name="intermediate")
        self.output_layer = layers.Dense(width, name="output")

    def call(self, x: Any) -> Any:
        x = x + self.attn(self.ln0(x))
        # The port used the erf form here; the weights are the same.
        return x + self.output_layer(tf.nn.gelu(self.intermediate_layer(self.ln1(x)), True))


class Positions(tf_keras.layers.Layer):
    def __init__(self, count: int, width: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.emb = self.add_weight(name="position_embeddings", shape=[count, width])

    def call(self, x: Any) -> Any:
        return self.emb[None, : tf.shape(x)[1]]


class GPT(tf_keras.Model):
    def __init__(self, vocab: int, positions: int, width: int, depth: int, heads: int) -> None:
        super().__init__(name="gpt")
        self.token_emb = layers.Embedding(vocab, width)
        self.pos_emb = Positions(positions, width)
        self.transformers = [Transformer(width, heads, name=f"layer{i:02d}") for i in range(depth)]
        self.final_norm = layers.LayerNormalization(epsilon=1e-5, name="LayerNorm_final_norm")

    def call(self, tokens: Any) -> Any:
        x = self.token_emb(tokens)
        x = x + self.pos_emb(x)
        for layer in self.transformers:
            x = layer(x)
        return tf.matmul(self.final_norm(x), self.token_emb.weights[0], transpose_b=True)


def port_model(whole: dict[str, np.ndarray], heads: int, dtype: str = "float32") -> GPT:
    """A model of the port's structure with the weights of a Megatron model that is not sharded."""
    V, D = whole["word_embeddings.weight"].shape
    depth = 1 + max(int(name.split(".")[2]) for name in whole if ".layers." in name)
    tf_keras.backend.clear_session()
    tf_keras.backend.set_floatx(dtype)
    try:
        model = GPT(V, len(whole["position_embeddings.weight"]), D, depth, heads)
        model(tf.constant([[1]]))
    finally:
        tf_keras.backend.set_floatx("float32")
    weights = [whole["word_embeddings.weight"], whole["position_embeddings.weight"]]
    for i in range(depth):
        at = f"transformer.layers.{i}."
        kernels = np.split(whole[at + "attention.query_key_value.weight"], 3)
        biases = np.split(whole[at + "attention.query_key_value.bias"], 3)
        for kernel, bias in zip(kernels, biases, strict=True):
            weights += [kernel.T, bias]
        weights += [whole[at + "attention.dense.weight"].T, whole[at + "attention.dense.bias"]]
        for norm in ("input_layernorm", "post_attention_layernorm"):
            weights += [whole[f"{at}{norm}.weight"], whole[f"{at}{norm}.bias"]]
        for part in ("mlp.dense_h_to_4h", "mlp.dense_4h_to_h"):
            weights += [whole[f"{at}{part}.weight"].T, whole[f"{at}{part}.bias"]]
    norm = "transformer.final_layernorm"
    model.set_weights([*weights, whole[f"{norm}.weight"], whole[f"{norm}.bias"]])
    return model


def save_port(model: GPT, path: Path) -> Path:
    """Save as the conversion notebooks did: `gpt.save(path, include_optimizer=False, ...)`."""

    @tf.function
    def sample(inp: Any, length: Any) -> Any:
        return tf.concat([inp, tf.argmax(model(inp), -1)], 1) + 0 * tf.reduce_sum(length)

    signature = sample.get_concrete_function(
        tf.TensorSpec([None, None], tf.int64, name="inp"),
        tf.TensorSpec([None], tf.int64, name="length"),
    )
    model.save(path, include_optimizer=False, signatures={"serving_default": signature})
    return path
