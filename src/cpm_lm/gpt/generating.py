"""The program of an exported SavedModel: TensorFlow functions that continue batches of ids.

Knows TensorFlow graphs; does not know files or text. The traced functions run without this
package. `serving_default` is the signature of the first TensorFlow port. The sampling rules are
those of `distributions`: the temperature first, then the nucleus (the token that crosses top-p
included); at temperature 0 the likeliest token.
Axes: B batch, T columns of `inp`, W tokens of the longest prompt, S slots of the KV cache in each
row, L layers, N heads, H head size, D width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from cpm_lm.gpt.arguments import (
    GIVEN,
    IDS,
    LENGTH,
    MASK,
    SEED,
    TEMPERATURE,
    TOP_P,
    checked_mask,
    ids_checks,
    left_aligned,
    random_seed,
    rules_checks,
)
from cpm_lm.gpt.gpt import GPT
from cpm_lm.gpt.layers import causal
from cpm_lm.shapes import Float, Int

__all__ = ["SHORT_TOP_P", "generator"]

SHORT_TOP_P = 0.95
"""The top-p of the first port's float16 model, which has no argument for it."""


def generator(
    model: GPT, ends: Sequence[int], *, extra: int = 0, short: bool = False
) -> tuple[tf.Module, dict[str, Any]]:
    """Return the arguments of `tf.saved_model.save`: an object with the weights, and signatures.

    `serving_default(inp: int64[B, T], length, top_p, temperature) -> int64[B, T + length]` returns
    the prompt's ids and those drawn. The last three arguments are one number, or one per row. A
    row that has ended is padded with the first of `ends`; the loop stops when all rows have ended.
    `seeded` has one more argument, `seed`; the same seed gives the same result. `logits(inp)`
    returns the logits float32[B, T, V].

    These three read every id of `inp`, padding included. Prompts of unequal length need the
    signatures with `mask: int64[B, T]`, 1 for the prompt's ids and 0 for padding. The ones of a
    row must be adjacent, at any column. Ids where the mask is 0 are not read.

    `padded(inp, mask, length, top_p, temperature) -> int64[B, T + length]` continues each row as
    if it were alone. A row of the result contains the n ids of the prompt without padding, from
    column n the ids drawn, then the first of `ends`. n + length must not exceed the context; T
    may. `padded_seeded` also has `seed`. `padded_logits(inp, mask)` returns float32[B, T, V]; the
    logits where the mask is 0 are meaningless.

    The side and the ids of the padding do not change a bit of the result. The logits of a row
    differ between batches by rounding only: at temperature 0 it gets the same ids as alone, unless
    logits are equal within rounding. The random numbers of a row depend on the seed, on its index
    in the batch and on the number of tokens drawn, not on other rows; alone, a row has index 0.

    Args:
        model: the Keras model, on TensorFlow.
        ends: the end ids.
        extra: the number of tokens to draw beyond `length`.
        short: `serving_default` without the arguments top_p, which is 0.95 then, and temperature,
            which is 1.
    """
    program = _Program(model, ends, extra)
    rules = LENGTH, TOP_P, TEMPERATURE

    def full(inp: Any, length: Any, top_p: Any, temperature: Any) -> Any:
        return program.seeded(inp, length, top_p, temperature, random_seed())

    def two(inp: Any, length: Any) -> Any:
        return full(inp, length, tf.constant(SHORT_TOP_P), tf.constant(1.0))

    def padded(inp: Any, mask: Any, length: Any, top_p: Any, temperature: Any) -> Any:
        return program.padded(inp, mask, length, top_p, temperature, random_seed())

    module = tf.Module()
    module.weights = [variable.value for variable in model.variables]  # tracked, hence saved
    return module, {
        "serving_default": traced(two, IDS, LENGTH) if short else traced(full, IDS, *rules),
        "seeded": traced(program.seeded, IDS, *rules, SEED),
        "logits": program.logits,
        "padded": traced(padded, IDS, MASK, *rules),
        "padded_seeded": traced(program.padded, IDS, MASK, *rules, SEED),
        "padded_logits": traced(program.padded_logits, IDS, MASK),
    }


def traced(function: Any, *signature: tf.TensorSpec) -> Any:
    """Return a TensorFlow function of this signature."""
    return tf.function(function, input_signature=signature, autograph=False)


class _Program:
    """The decoding loop, and the signatures that share it, as functions to be traced."""

    def __init__(self, model: GPT, ends: Sequence[int], extra: int) -> None:
        self.model, self.ends, self.extra = model, tuple(ends), extra
        # All signatures share these two traces; tracing 32 layers takes many seconds.
        self.generate = traced(self._generate, IDS, GIVEN, LENGTH, TOP_P, TEMPERATURE, SEED)
        self.logits = traced(lambda inp: model(inp), IDS)

    def seeded(self, inp: Any, length: Any, top_p: Any, temperature: Any, seed: Any) -> Any:
        """Return the ids of `inp` and the ids drawn after them."""
        return self.generate(inp, tf.shape(inp, tf.int64)[1], length, top_p, temperature, seed)

    def padded(
        self, inp: Any, mask: Any, length: Any, top_p: Any, temperature: Any, seed: Any
    ) -> Any:
        """Return the ids of each prompt, without padding, and the ids drawn after them."""
        ids, _, counts = left_aligned(inp, checked_mask(inp, mask), self.ends[0])
        result = self.generate(ids, counts, length, top_p, temperature, seed)
        removed = tf.shape(inp)[1] - tf.shape(ids)[1]
        return tf.pad(result, [[0, 0], [0, removed]], constant_values=self.ends[0])

    def padded_logits(self, inp: Any, mask: Any) -> Any:
        """Return the logits after every id of the prompts."""
        ids, first, counts = left_aligned(inp, checked_mask(inp, mask), self.ends[0])
        with tf.control_dependencies(ids_checks(self.model.config, ids, counts)):
            logits = self.logits(tf.identity(ids))
        columns = tf.range(tf.shape(inp, tf.int64)[1]) - first[:, None]
        last = tf.shape(ids, tf.int64)[1] - 1
        return tf.gather(logits, tf.clip_by_value(columns, 0, last), batch_dims=1)

    def _generate(
        self, inp: Any, given: Any, length: Any, top_p: Any, temperature: Any, seed: Any
    ) -> Any:
        """Return the first `given` ids of each row and the ids drawn after them."""
        checks = ids_checks(self.model.config, inp, given, length)
        checks += rules_checks(length, top_p, temperature)
        with tf.control_dependencies(checks):
            inp, given, length = tf.identity(inp), tf.identity(given), tf.identity(length)
        longest = tf.maximum(tf.constant(0, tf.int64), tf.reduce_max(length))
        B = tf.shape(inp)[:1]
        given, length, top_p, temperature = (
            tf.broadcast_to(x, B) for x in (given, length, top_p, temperature)
        )
        # Transposed once: a product that transposes the embedding itself is several times slower.
        output = tf.transpose(tf.cast(self.model.wte.embeddings.value, self.model.compute_dtype))

        def draw_token(i: Any, hidden: Any) -> Any:
            logits = tf.cast(tf.matmul(hidden, output), tf.float32)
            return draw(logits, top_p, temperature, tf.stack([seed, i]))

        return self.loop(inp, given, length + self.extra, longest, draw_token)

    def loop(self, inp: Any, given: Any, budget: Any, longest: Any, draw_token: Any) -> Any:
        """Continue each row until it ends; return the ids.

        Args:
            inp: int64[B, W].
            given: the number of prompt tokens of each row, int64[B].
            budget: the largest number of tokens to draw in each row, int64[B].
            longest: the largest `length` of all rows.
            draw_token: draws token i of every row from hidden states [B, D].
        """
        ends = tf.constant(self.ends, tf.int64)
        S = tf.maximum(tf.shape(inp, tf.int64)[1], tf.reduce_max(given + budget - self.extra))

        def draw_next(i: Any, hidden: Any, ids: Any, done: Any) -> tuple[Any, Any, Any]:
            last = tf.where(done, ends[0], draw_token(i, hidden))[:, None]
            at = given[:, None] + i
            ids = tf.where(tf.range(tf.shape(ids, tf.int64)[1]) == at, last, ids)
            done = done | tf.reduce_any(last == ends, 1) | (i + 1 >= budget)
            return last, ids, done

        def step(i: Any, last: Any, ids: Any, done: Any, cache: Any) -> tuple[Any, ...]:
            hidden, cache = self.step(last, given + i - 1, S, cache)
            return (i + 1, *draw_next(i, hidden, ids, done), cache)

        def unfinished(i: Any, *state: Any) -> Any:
            return (i < longest + self.extra) & ~tf.reduce_all(state[2])

        hidden, cache = self.prefill(inp, given, S)
        ids = tf.pad(inp, [[0, 0], [0, longest + self.extra]], constant_values=self.ends[0])
        last, ids, done = draw_next(tf.constant(0, tf.int64), hidden, ids, budget <= 0)
        start = (tf.constant(1, tf.int64), last, ids, done, cache)
        shapes = tuple(tf.TensorShape([None] * axes) for axes in (0, 2, 2, 1, 2))
        return tf.while_loop(unfinished, step, start, shapes, parallel_iterations=1)[2]

    def prefill(self, inp: Any, given: Any, S: Any) -> tuple[Any, Any]:
        """Return the hidden state [B, D] of each row's last prompt token, and a KV cache.

        Ids after the end of a prompt are computed but have no effect: earlier tokens do not attend
        to them, and `step` overwrites their slots before it reads them.

        The cache is one tensor [2 L B N S, H]: keys, then values, per layer. TensorFlow's optimizer
        may merge several tensors of equal shape and contents into one, which `step` would then
        overwrite.
        """
        W = tf.shape(inp)[1]
        states, new = self.model.forward(inp, tf.range(W)[None], causal(W))
        room = [[0, 0], [0, 0], [0, tf.cast(S, tf.int32) - W], [0, 0]]
        cache = tf.stack([tf.pad(part, room) for pair in new for part in pair])
        last = tf.gather(states[-1], given - 1, batch_dims=1)
        return last, tf.reshape(cache, [-1, cache.shape[-1]])

    def step(self, last: Any, at: Any, S: Any, cache: Any) -> tuple[Any, Any]:
        """Compute one more token in each row; return the hidden states and the updated cache.

        The token of row b has position `at[b]`, which is also its slot. The positions of a row that
        has ended could exceed the cache; they are cut to the last slot.
        """
        L, N, H = self.model.config.n_layer, self.model.config.n_head, self.model.config.head_size
        B, T = tf.unstack(tf.shape(last))  # T is 1
        S = tf.cast(S, tf.int32)
        at = tf.minimum(tf.cast(at, tf.int32), S - 1)[:, None]
        by_layer = tf.unstack(tf.reshape(cache, [2 * L, B, N, S, H]))  # views, not copies
        past = list(zip(by_layer[::2], by_layer[1::2], strict=True))
        before = tf.broadcast_to(tf.range(S) < at[:, :, None], [B, T, S])
        seen = tf.concat([before, tf.broadcast_to(causal(T), [B, T, T])], 2)
        states, new = self.model.forward(last, at + tf.range(T), seen, past)
        fresh = tf.reshape(tf.stack([part for pair in new for part in pair]), [-1, H])
        rows = tf.reshape(tf.range(2 * L * B * N), [2 * L, B, N]) * S + at
        with tf.control_dependencies([states[-1]]):  # updated in place, after all layers have read
            cache = tf.raw_ops.InplaceUpdate(x=cache, i=tf.reshape(rows, [-1]), v=fresh)
        return states[-1][:, 0], cache


def draw(
    logits: Float[Any, "B V"],
    top_p: Float[Any, " B"],
    temperature: Float[Any, " B"],
    seed: Int[Any, " 2"],
) -> Int[Any, " B"]:
    """Draw an id for each row from its distribution; the same seed gives the same ids."""
    scores = tf.cast(logits, tf.float64)
    divisor = tf.where(temperature == 0, tf.ones_like(temperature), temperature)
    divisor = tf.cast(divisor, tf.float64)[:, None]
    weights = tf.exp((scores - tf.reduce_max(scores, 1, keepdims=True)) / divisor)
    order = tf.argsort(logits, direction="DESCENDING", stable=True)  # stable: ties by the lower id
    descending = tf.gather(weights, order, batch_dims=1)
    share = tf.cast(top_p, tf.float64) * tf.reduce_sum(descending, 1)
    kept = tf.cumsum(descending, 1, exclusive=True) < share[:, None]
    edges = tf.cumsum(tf.where(kept, descending, tf.zeros_like(descending)), 1)
    u = tf.random.stateless_uniform(tf.shape(share), seed, dtype=tf.float64)
    place = tf.reduce_sum(tf.cast(edges <= u[:, None] * edges[:, -1:], tf.int32), 1)
    last = tf.reduce_sum(tf.cast(kept, tf.int32), 1) - 1
    place = tf.where(temperature == 0, 0, tf.maximum(0, tf.minimum(place, last)))
    return tf.cast(tf.gather(order, place, batch_dims=1), tf.int64)
