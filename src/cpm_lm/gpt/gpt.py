"""GPT as a Keras model: for `fit`, `summary`, `.keras` files and, with a KV cache, the engines.

Knows Keras and token ids; does not know files of weights, trees of tokens or text.
Axes: B batch, T new tokens, S past tokens, K = S + T, L layers, N heads, H head size, D width,
V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
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
from cpm_lm.shapes import Bool, Float, Int, Shaped

__all__ = ["GPT", "StoredPolicy"]


@keras.saving.register_keras_serializable("cpm_lm")
class GPT(keras.Model):  # type: ignore[misc]
    """A GPT that maps token ids to logits; the constructor creates the weights.

    Train it with tokens shifted by one and a loss that takes logits:

        model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        model.fit(tokens[:, :-1], tokens[:, 1:])

    Pad rows of unequal length on the right for `fit` and `predict`: a token does not see what
    follows it, so padding on the right does not change its logits. The logits of the padding itself
    are meaningless; give a sample weight of 0 where the next token is padding. Other padding needs
    the argument `mask` of `call`, which `fit` and `predict` pass on in a functional model:

        both = keras.Input((None,), dtype="int32"), keras.Input((None,), dtype="bool")
        masked = keras.Model(both, model(both[0], mask=both[1]))

    Args:
        config: the model's shape, or its JSON values.
        dropout: the dropout rate of embeddings, attention weights and block outputs.
        initial: the initial weights: `normal`, or `zeros` if weights will be loaded.
        **kwargs: `dtype` (a Keras dtype policy), `name`.

    `.keras` files and SavedModels contain the attribute names of layers: do not rename them.
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
        """Create the weights; the constructor calls it."""
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
        """Return the logits after every token, float32[B, T, V].

        Args:
            tokens: ids. Without a mask all are read, so padding on the left changes the logits.
            training: whether dropout is on.
            mask: [B, T], bool or 0 and 1; false for padding. Other tokens do not attend to padding,
                it takes no position, and its own logits are meaningless.

        Raises:
            RequestError: the mask does not have the shape of the tokens.
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

        The only forward path, with and without a KV cache. `past` is only read; the caller appends
        the returned keys and values to its cache.

        Args:
            tokens: ids.
            positions: the position of each token.
            visible: which past tokens (first) and new tokens (last) each new token attends to.
            past: keys and values [B, N, S, H] of earlier tokens for each block; None for none.
            training: whether dropout is on.
            product: multiplies by the blocks' matrices; an engine may store them in another form.
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
        """Return the logits, float32, of hidden states after the final norm."""
        matrix = ops.transpose(ops.cast(self.wte.embeddings, self.compute_dtype))
        return ops.cast(ops.matmul(hidden, matrix), "float32")

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments as JSON values."""
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
            # The mask [0, 1, 1] gives the positions [0, 0, 1]; [1, 1, 0] gives [0, 1, 1].
            positions = ops.maximum(ops.cumsum(ops.cast(mask, "int32"), axis=1) - 1, 0)
            visible = causal(length) & ops.expand_dims(mask, 1)
        states, _ = self.forward(tokens, positions, visible, training=training)
        return states


def _fitting(mask: Any, tokens: Any) -> Any:
    """Return the mask as bool[B, T]; another shape could be broadcast without an error."""
    mask = ops.cast(mask, "bool")
    found, wanted = tuple(mask.shape), tuple(tokens.shape)
    pairs = zip(found, wanted, strict=False)
    if len(found) != 2 or any(a != b for a, b in pairs if a is not None and b is not None):
        raise RequestError(
            "mask has the shape {found} and tokens have {wanted}; give a mask of their shape",
            found=found,
            wanted=wanted,
        )
    return mask
