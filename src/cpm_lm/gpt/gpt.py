"""GPT as a Keras model: for `fit`, `summary` and `.keras` files, and for the engines' cache.

Knows Keras and token ids; does not know files of weights, trees of tokens or text.
Axes: B batch, T new tokens, S past tokens, K = S + T, L layers, N heads, H head size, D width,
V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from jaxtyping import Bool, Float, Int, Shaped
from keras import ops

from cpm_lm.config import GPTConfig
from cpm_lm.errors import RequestError
from cpm_lm.gpt.layers import (
    Block,
    KeysValues,
    Product,
    causal,
    flat_product,
    initializer,
    no_type_check,
)
from cpm_lm.gpt.policy import StoredPolicy

__all__ = ["GPT", "StoredPolicy"]


@keras.saving.register_keras_serializable("cpm_lm")
class GPT(keras.Model):  # type: ignore[misc]
    """The next-token scores of a GPT; its weights exist as soon as it is made.

    Train it with tokens shifted by one and a loss that takes raw scores:

        model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        model.fit(tokens[:, :-1], tokens[:, 1:])

    Rows of unequal length are padded on the right for `fit` and `predict`: a token sees only what
    lies before it, so those before the padding are not changed by it. The scores after the padding
    mean nothing; keep them out of the loss by a sample weight of 0 where the next token pads. For
    padding on the left, or for both, give the mask of `call`; `fit` and `predict` take it through

        both = keras.Input((None,), dtype="int32"), keras.Input((None,), dtype="bool")
        masked = keras.Model(both, model(both[0], mask=both[1]))

    Args:
        config: the model's shape, or the same as JSON values.
        dropout: the rate, while training, of embeddings, attention weights and block outputs.
        initial: what weights start from: `normal`, or `zeros` where others will be loaded.
        **kwargs: `dtype` (a Keras dtype policy), `name`.
    """

    built: bool

    @no_type_check
    def __init__(
        self,
        config: GPTConfig | dict[str, Any],
        *,
        dropout: float = 0.0,
        initial: str = "normal",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not isinstance(config, GPTConfig):
            config = GPTConfig.from_json(config)
        self.supports_masking = True
        self.config = config
        self.dropout = dropout
        policy, D = self.dtype_policy, config.n_embd
        self.wte = keras.layers.Embedding(
            config.vocab_size,
            D,
            embeddings_initializer=initializer(initial),
            dtype=policy,
            name="wte",
        )
        self.wpe = keras.layers.Embedding(
            config.n_positions,
            D,
            embeddings_initializer=initializer(initial),
            dtype=policy,
            name="wpe",
        )
        self.drop = keras.layers.Dropout(dropout, dtype=policy, name="drop")
        self.blocks = [
            Block(config=config, dropout=dropout, initial=initial, dtype=policy, name=f"h_{i}")
            for i in range(config.n_layer)
        ]
        self.ln_f = keras.layers.LayerNormalization(
            epsilon=config.layer_norm_epsilon, dtype=policy, name="ln_f"
        )
        self.build((None, None))

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Make the weights; called once by the constructor."""
        if self.built:
            return
        self.wte.build(input_shape)
        self.wpe.build(input_shape)
        for layer in (*self.blocks, self.ln_f):
            layer.build((*input_shape, self.config.n_embd))
        self.built = True

    def call(
        self,
        tokens: Int[Any, "B T"],
        training: bool | None = None,
        mask: Shaped[Any, "*axes"] | None = None,
    ) -> Float[Any, "B T {self.config.vocab_size}"]:
        """Return the next-token scores after every token, float32[B, T, V].

        Args:
            tokens: ids. Without a mask all are read: those that pad a row on the left would
                change the scores of the others.
            training: whether to drop out.
            mask: bool or 0 and 1, [B, T]: false for tokens that only pad. No other token sees
                them, they take no position, and their own scores mean nothing.

        Raises:
            RequestError: the mask has not the shape of the tokens.
        """
        *_, last = self._states(tokens, training=training, mask=mask)
        return self.logits(last)

    def hidden_states(
        self, tokens: Int[Any, "B T"], mask: Shaped[Any, "*axes"] | None = None
    ) -> list[Float[Any, "B T D"]]:
        """Return the embedding sum, each block's output and the final norm's: L+2 arrays.

        The arguments are those of `call`.
        """
        return self._states(tokens, mask=mask)

    def forward(
        self,
        tokens: Int[Any, "B T"],
        positions: Int[Any, "#B T"],
        visible: Bool[Any, "#B T K"],
        past: Sequence[KeysValues] | None = None,
        training: bool | None = None,
        product: Product = flat_product,
    ) -> tuple[list[Float[Any, "B T D"]], list[KeysValues]]:
        """Return the hidden states of new tokens, and their keys and values.

        The one path through the network, with and without a cache: `past` is only read, and
        whoever keeps it appends the keys and values returned.

        Args:
            tokens: ids.
            positions: each token's position.
            visible: which past tokens (first) and new tokens (last) each new token attends to.
            past: keys and values [B, N, S, H] of earlier tokens for each block; None for none.
            training: whether to drop out.
            product: how the blocks' matrices are multiplied by; an engine may keep them its way.
        """
        x = self.drop(self.wte(tokens) + self.wpe(positions), training=training)
        states, new = [x], []
        for i, block in enumerate(self.blocks):
            old = None if past is None else past[i]
            x, kv = block(x, visible, old, training=training, product=product)
            states.append(x)
            new.append(kv)
        return [*states, self.ln_f(x)], new

    def logits(self, hidden: Float[Any, "... D"]) -> Float[Any, "... V"]:
        """Return the next-token scores, float32, for vectors that passed the final norm."""
        matrix = ops.transpose(ops.cast(self.wte.embeddings, self.compute_dtype))
        return ops.cast(ops.matmul(hidden, matrix), "float32")

    def get_config(self) -> dict[str, Any]:
        """Return what the constructor needs, as JSON values."""
        return {
            **super().get_config(),
            "config": self.config.to_json(),
            "dropout": self.dropout,
        }

    def _states(self, tokens: Any, training: bool | None = None, mask: Any = None) -> list[Any]:
        length = ops.shape(tokens)[1]
        if mask is None:
            positions, visible = ops.expand_dims(ops.arange(length), 0), causal(length)
        else:
            mask = _fitting(mask, tokens)
            # [0, 1, 1] stand at [0, 0, 1]; so do [1, 1, 0] at [0, 1, 1].
            positions = ops.maximum(ops.cumsum(ops.cast(mask, "int32"), axis=1) - 1, 0)
            visible = causal(length) & ops.expand_dims(mask, 1)
        states, _ = self.forward(tokens, positions, visible, training=training)
        return states


def _fitting(mask: Any, tokens: Any) -> Any:
    """Return the mask as bool[B, T]; one of another shape could be spread over all tokens."""
    mask = ops.cast(mask, "bool")
    found, wanted = tuple(mask.shape), tuple(tokens.shape)
    pairs = zip(found, wanted, strict=False)
    if len(found) != 2 or any(a != b for a, b in pairs if a is not None and b is not None):
        raise RequestError(
            f"mask has the shape {found} and tokens have {wanted}; give a mask of their shape"
        )
    return mask
