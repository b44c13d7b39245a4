"""The layers of the Keras GPT: attention with an optional KV cache, feed-forward, block.

Knows Keras and shapes; does not know where weights come from or how the KV cache is stored.
Axes: B batch, T new tokens, S past tokens, K = S + T, N heads, H head size, D width.
Source: the original's mpu/transformer.py.

`.keras` files and SavedModels contain the attribute names of layers and weights (`qkv`, `out`,
`widen`, `narrow`, `ln_1`, ...): do not rename them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

import keras
from keras import ops

from cpm_lm.config import GPTConfig
from cpm_lm.shapes import Bool, Float

__all__ = [
    "Attention",
    "Block",
    "FeedForward",
    "Product",
    "causal",
    "flat_product",
    "initializer",
    "no_type_check",
]

F = TypeVar("F")

Product = Callable[[keras.layers.Layer, Any], Any]
"""Maps (layer, inputs [B, T, I]) to outputs [B, T, O]: multiplies by its matrix, adds its bias."""

KeysValues = tuple[Float[Any, "B N _ H"], Float[Any, "B N _ H"]]

SOFTMAX_LOWEST = -3.4028235e38
"""The value of masked scores: the lowest float32, since every softmax is computed in float32."""


def no_type_check(constructor: F) -> F:
    """Return the constructor unchanged; the shape checker of the tests skips decorators so named.

    Keras reads the signatures of constructors, and the checker's wrapper would hide them.
    """
    return constructor


def causal(length: Any) -> Any:
    """Return the causal mask bool[1, T, T]: a token attends to itself and to those before it."""
    order = ops.arange(length)
    return (order[:, None] >= order[None, :])[None]


def flat_product(layer: Any, x: Float[Any, "B T I"]) -> Float[Any, "B T O"]:
    """Return x times the layer's matrix plus its bias, with the axes of heads joined.

    On a CPU, XLA's code for a vector times a kernel of four axes is 20 times slower. In TensorFlow
    an einsum takes at least 1.3 times as long as a matrix product.
    """
    outputs = math.prod(layer.bias.shape)
    flat = ops.matmul(x, ops.reshape(layer.kernel, (-1, outputs)))
    return flat + ops.reshape(layer.bias, (-1,))


def initializer(initial: str, scale: float = 0.02) -> Any:
    """Return GPT-2's initial distribution, normal with this standard deviation, or zeros."""
    return "zeros" if initial == "zeros" else keras.initializers.RandomNormal(stddev=scale)


class Attention(keras.layers.Layer):  # type: ignore[misc]
    """Self-attention of new tokens to past tokens and to each other; the past is only read.

    Kernels have axes of heads: queries, keys and values [D, 3, N, H], the output [N, H, D].

    Args:
        config: the model's shape.
        dropout: the dropout rate of attention weights.
        initial: the initial weights, `normal` or `zeros`.
    """

    @no_type_check
    def __init__(self, *, config: GPTConfig, dropout: float, initial: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        N, H, D = config.n_head, config.head_size, config.n_embd
        self.scale = 1 / math.sqrt(H)
        self.heads = (N, H)
        self.qkv = keras.layers.EinsumDense(
            "btd,dcnh->btcnh",
            (None, 3, N, H),
            bias_axes="cnh",
            kernel_initializer=initializer(initial),
            dtype=self.dtype_policy,
            name="qkv",
        )
        self.out = keras.layers.EinsumDense(
            "btnh,nhd->btd",
            (None, D),
            bias_axes="d",
            kernel_initializer=initializer(initial, 0.02 / math.sqrt(2 * config.n_layer)),
            dtype=self.dtype_policy,
            name="out",
        )
        self.drop = keras.layers.Dropout(dropout, dtype=self.dtype_policy, name="drop")

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create the weights for inputs [B, T, D]."""
        self.qkv.build(input_shape)
        self.out.build((*input_shape[:2], *self.heads))

    def call(
        self,
        x: Float[Any, "B T D"],
        visible: Bool[Any, "#B T K"],
        past: KeysValues | None = None,
        training: bool | None = None,
        product: Product = flat_product,
    ) -> tuple[Float[Any, "B T D"], KeysValues]:
        """Return the attention's output, and the keys and values of the new tokens.

        Args:
            x: the hidden states of the new tokens.
            visible: which past tokens (first) and new tokens (last) each new token attends to.
            past: keys and values of earlier tokens, each [B, N, S, H]; None for none.
            training: whether dropout is on.
            product: multiplies by the two matrices.
        """
        q, k, v = self.split_heads(product(self.qkv, x))
        q = q * self.scale
        if past is None:
            (weights,) = self.attention_weights(q, [k], visible, training)
            attn = weighted_values(weights, v)
        else:
            # The scores are concatenated, not the keys, so that the cache is not copied.
            past_weights, new_weights = self.attention_weights(q, [past[0], k], visible, training)
            attn = weighted_values(past_weights, past[1]) + weighted_values(new_weights, v)
        joined = ops.reshape(ops.transpose(attn, (0, 2, 1, 3)), ops.shape(x))
        return product(self.out, joined), (k, v)

    def split_heads(self, flat: Any) -> list[Any]:
        """Split [B, T, 3 D] into queries, keys and values, each [B, N, T, H]."""
        parts = ops.reshape(flat, (*ops.shape(flat)[:2], 3, *self.heads))
        return ops.unstack(ops.transpose(parts, (2, 0, 3, 1, 4)))

    def attention_weights(
        self, q: Any, keys: list[Any], visible: Any, training: bool | None
    ) -> list[Any]:
        """Return the softmax over all `keys`, split into a part [B, N, T, S] for each of them."""
        # Keys are the left operand, because XLA copies a right operand to transpose it.
        columns = ops.transpose(q, (0, 1, 3, 2))
        scores = [ops.transpose(ops.matmul(k, columns), (0, 1, 3, 2)) for k in keys]
        joined = ops.cast(ops.concatenate(scores, axis=-1), "float32")
        masked = ops.where(ops.expand_dims(visible, 1), joined, SOFTMAX_LOWEST)
        weights = self.drop(ops.cast(ops.softmax(masked), self.compute_dtype), training=training)
        if len(keys) == 1:
            return [weights]
        S = ops.shape(keys[0])[2]
        return [weights[..., :S], weights[..., S:]]


def weighted_values(weights: Float[Any, "B N T S"], values: Float[Any, "B N S H"]) -> Any:
    """Return the weighted sums of the values [B, N, T, H]."""
    return ops.matmul(weights, values)


class FeedForward(keras.layers.Layer):  # type: ignore[misc]
    """The feed-forward network: two dense layers [D, 4D] and [4D, D] with GELU between them.

    Args:
        config: the model's shape; its `activation_function` chooses the form of GELU.
        initial: the initial weights, `normal` or `zeros`.
    """

    @no_type_check
    def __init__(self, *, config: GPTConfig, initial: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.approximate = config.activation_function == "gelu_new"
        self.widen = keras.layers.Dense(
            4 * config.n_embd,
            kernel_initializer=initializer(initial),
            dtype=self.dtype_policy,
            name="widen",
        )
        self.narrow = keras.layers.Dense(
            config.n_embd,
            kernel_initializer=initializer(initial, 0.02 / math.sqrt(2 * config.n_layer)),
            dtype=self.dtype_policy,
            name="narrow",
        )

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create the weights for inputs [B, T, D]."""
        self.widen.build(input_shape)
        self.narrow.build((*input_shape[:-1], self.widen.units))

    def call(self, x: Float[Any, "B T D"], product: Product = flat_product) -> Float[Any, "B T D"]:
        """Return narrow(gelu(widen(x))); `product` multiplies by the matrices."""
        inner = ops.gelu(product(self.widen, x), approximate=self.approximate)
        return product(self.narrow, inner)


class Block(keras.layers.Layer):  # type: ignore[misc]
    """x + attention(norm(x)), then + feed_forward(norm(x)).

    Args:
        config: the model's shape.
        dropout: the dropout rate of attention weights and of the outputs of both parts.
        initial: the initial weights, `normal` or `zeros`.
    """

    @no_type_check
    def __init__(self, *, config: GPTConfig, dropout: float, initial: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        policy, epsilon = self.dtype_policy, config.layer_norm_epsilon
        self.ln_1 = keras.layers.LayerNormalization(epsilon=epsilon, dtype=policy, name="ln_1")
        self.attention = Attention(
            config=config, dropout=dropout, initial=initial, dtype=policy, name="attention"
        )
        self.ln_2 = keras.layers.LayerNormalization(epsilon=epsilon, dtype=policy, name="ln_2")
        self.feed_forward = FeedForward(
            config=config, initial=initial, dtype=policy, name="feed_forward"
        )
        self.drop = keras.layers.Dropout(dropout, dtype=policy, name="drop")

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create the weights for inputs [B, T, D]."""
        for part in (self.ln_1, self.attention, self.ln_2, self.feed_forward):
            part.build(input_shape)

    def call(
        self,
        x: Float[Any, "B T D"],
        visible: Bool[Any, "#B T K"],
        past: KeysValues | None = None,
        training: bool | None = None,
        product: Product = flat_product,
    ) -> tuple[Float[Any, "B T D"], KeysValues]:
        """Return the block's output and the new tokens' keys and values."""
        attn, new = self.attention(self.ln_1(x), visible, past, training=training, product=product)
        x = x + self.drop(attn, training=training)
        mlp = self.feed_forward(self.ln_2(x), product=product)
        return x + self.drop(mlp, training=training), new
