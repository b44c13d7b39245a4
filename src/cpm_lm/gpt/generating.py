"""A GPT as TensorFlow functions that continue batches of ids: the program of an exported model.

Knows TensorFlow graphs; does not know files or text. Nothing of this package is needed to run
what is traced here. The signature is the first TensorFlow port's. How logits become a
distribution is stated in distributions/rules.py: the temperature first, then the smallest set of
tokens that reaches top-p, the one that crosses it included; at temperature 0 the likeliest token.
Axes: B batch, T columns of `inp`, W ids of the longest row, S slots of a row in the cache,
L layers, N heads, H head size, D width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf
from jaxtyping import Float, Int

from cpm_lm.gpt.arguments import (
    GIVEN,
    IDS,
    LENGTH,
    MASK,
    SEED,
    TEMPERATURE,
    TOP_P,
    checked_mask,
    fresh_seed,
    ids_checks,
    left_aligned,
    rules_checks,
)
from cpm_lm.gpt.gpt import GPT
from cpm_lm.gpt.layers import causal

__all__ = ["SHORT_TOP_P", "generator"]

SHORT_TOP_P = 0.95
"""What the first port's float16 model, which has no argument for it, draws with."""


def generator(
    model: GPT, ends: Sequence[int], *, extra: int = 0, short: bool = False
) -> tuple[tf.Module, dict[str, Any]]:
    """Return what `tf.saved_model.save` takes: an object with the weights, and signatures.

    `serving_default(inp: int64[B, T], length, top_p, temperature) -> int64[B, T + length]` gives
    the ids given and drawn. The last three are numbers or one number for each row. A row that
    has ended is filled with the first of `ends`; drawing stops when all have. `seeded` has one
    more argument, `seed`, and the same result for the same seed; `logits(inp)` gives the
    next-token scores float32[B, T, V].

    These three read every id of `inp`, also one that only pads a row. Prompts of unequal length
    need the signatures with a mask, int64[B, T]: 1 for the ids given, 0 for the padding. The ones
    of a row lie side by side, on the left or on the right. An id under a 0 is never read.

    `padded(inp, mask, length, top_p, temperature) -> int64[B, T + length]` continues each row as
    if it were alone. A row of the result is the n ids given, without the padding, then those
    drawn (from column n), then the first of `ends`. The context limits n + length, not T.
    `padded_seeded` has `seed` as well. `padded_logits(inp, mask)` gives float32[B, T, V]; scores
    under a 0 mean nothing.

    The side and the ids of the padding change no bit of the result. In another batch a row's
    scores differ in rounding only: at temperature 0 the ids are the same unless scores are that
    near. The random numbers of a row depend on the seed, on the row's number in the batch and on
    how many tokens it has drawn, not on the other rows; a row alone has number 0.

    Args:
        model: the Keras model, on TensorFlow.
        ends: the ids that end a text.
        extra: how many tokens to draw beyond `length`.
        short: leave out top_p, 0.95 then, and temperature, 1 then, of `serving_default`.
    """
    program = _Program(model, ends, extra)
    rules = LENGTH, TOP_P, TEMPERATURE

    def full(inp: Any, length: Any, top_p: Any, temperature: Any) -> Any:
        return program.seeded(inp, length, top_p, temperature, fresh_seed())

    def two(inp: Any, length: Any) -> Any:
        return full(inp, length, tf.constant(SHORT_TOP_P), tf.constant(1.0))

    def padded(inp: Any, mask: Any, length: Any, top_p: Any, temperature: Any) -> Any:
        return program.padded(inp, mask, length, top_p, temperature, fresh_seed())

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
    """Return a TensorFlow function for arguments of these kinds only."""
    return tf.function(function, input_signature=signature, autograph=False)


class _Program:
    """The signatures that have a seed or none to have, and the loop that they share."""

    def __init__(self, model: GPT, ends: Sequence[int], extra: int) -> None:
        self.model, self.ends, self.extra = model, tuple(ends), extra
        # Traced once each, for all signatures: a trace of 32 layers takes many seconds.
        self.continued = traced(self._continued, IDS, GIVEN, LENGTH, TOP_P, TEMPERATURE, SEED)
        self.logits = traced(lambda inp: model(inp), IDS)

    def seeded(self, inp: Any, length: Any, top_p: Any, temperature: Any, seed: Any) -> Any:
        """Return the ids of `inp` and those drawn after them, int64[B, T + length]."""
        T = tf.shape(inp, tf.int64)[1]
        return self.continued(inp, T, length, top_p, temperature, seed)

    def padded(
        self, inp: Any, mask: Any, length: Any, top_p: Any, temperature: Any, seed: Any
    ) -> Any:
        """Return each row's ids without the padding and those drawn, int64[B, T + length]."""
        ids, _, counts = left_aligned(inp, checked_mask(inp, mask), self.ends[0])
        found = self.continued(ids, counts, length, top_p, temperature, seed)
        room = tf.shape(inp)[1] - tf.shape(ids)[1]
        return tf.pad(found, [[0, 0], [0, room]], constant_values=self.ends[0])

    def padded_logits(self, inp: Any, mask: Any) -> Any:
        """Return the next-token scores after every id given, float32[B, T, V]."""
        ids, first, counts = left_aligned(inp, checked_mask(inp, mask), self.ends[0])
        with tf.control_dependencies(ids_checks(self.model.config, ids, counts)):
            scores = self.logits(tf.identity(ids))
        columns = tf.range(tf.shape(inp, tf.int64)[1]) - first[:, None]
        last = tf.shape(ids, tf.int64)[1] - 1
        return tf.gather(scores, tf.clip_by_value(columns, 0, last), batch_dims=1)

    def _continued(
        self, inp: Any, given: Any, length: Any, top_p: Any, temperature: Any, seed: Any
    ) -> Any:
        """Return each row's first `given` ids and those drawn after them, then `ends[0]`."""
        checks = ids_checks(self.model.config, inp, given, length)
        checks += rules_checks(length, top_p, temperature)
        with tf.control_dependencies(checks):
            inp, given, length = tf.identity(inp), tf.identity(given), tf.identity(length)
        longest = tf.maximum(tf.constant(0, tf.int64), tf.reduce_max(length))
        B = tf.shape(inp)[:1]
        given, length, top_p, temperature = (
            tf.broadcast_to(x, B) for x in (given, length, top_p, temperature)
        )
        # A product with the embedding transposed on the fly takes several times as long.
        output = tf.transpose(tf.cast(self.model.wte.embeddings.value, self.model.compute_dtype))

        def new(i: Any, hidden: Any) -> Any:
            logits = tf.cast(tf.matmul(hidden, output), tf.float32)
            return draw(logits, top_p, temperature, tf.stack([seed, i]))

        return self.loop(inp, given, length + self.extra, longest, new)

    def loop(self, inp: Any, given: Any, budget: Any, longest: Any, new: Any) -> Any:
        """Return the ids, each row continued by `new(i, hidden)` until it ends.

        Args:
            inp: int64[B, W].
            given: how many of its ids each row has, int64[B].
            budget: how many tokens each row gets at most, int64[B].
            longest: the length asked for in the row that gets most.
            new: what draws token i of every row out of hidden states [B, D].
        """
        ends = tf.constant(self.ends, tf.int64)
        S = tf.maximum(tf.shape(inp, tf.int64)[1], tf.reduce_max(given + budget - self.extra))

        def drawn(i: Any, hidden: Any, ids: Any, done: Any) -> tuple[Any, Any, Any]:
            last = tf.where(done, ends[0], new(i, hidden))[:, None]
            at = given[:, None] + i
            ids = tf.where(tf.range(tf.shape(ids, tf.int64)[1]) == at, last, ids)
            done = done | tf.reduce_any(last == ends, 1) | (i + 1 >= budget)
            return last, ids, done

        def step(i: Any, last: Any, ids: Any, done: Any, cache: Any) -> tuple[Any, ...]:
            hidden, cache = self.step(last, given + i - 1, S, cache)
            return (i + 1, *drawn(i, hidden, ids, done), cache)

        def unfinished(i: Any, *state: Any) -> Any:
            return (i < longest + self.extra) & ~tf.reduce_all(state[2])

        hidden, cache = self.prefill(inp, given, S)
        ids = tf.pad(inp, [[0, 0], [0, longest + self.extra]], constant_values=self.ends[0])
        last, ids, done = drawn(tf.constant(0, tf.int64), hidden, ids, budget <= 0)
        start = (tf.constant(1, tf.int64), last, ids, done, cache)
        shapes = tuple(tf.TensorShape([None] * axes) for axes in (0, 2, 2, 1, 2))
        return tf.while_loop(unfinished, step, start, shapes, parallel_iterations=1)[2]

    def prefill(self, inp: Any, given: Any, S: Any) -> tuple[Any, Any]:
        """Return the hidden state [B, D] of each row's last given id, and a cache of S slots.

        What a row has after its given ids is computed along and never seen: attention looks back
        only, and every slot is written anew before it is read.

        The cache is one tensor for all layers, [2 L B N S, H], keys and values in turn: several
        of one shape could become one, shared, in the optimiser's eyes.
        """
        W = tf.shape(inp)[1]
        states, new = self.model.forward(inp, tf.range(W)[None], causal(W))
        room = [[0, 0], [0, 0], [0, tf.cast(S, tf.int32) - W], [0, 0]]
        cache = tf.stack([tf.pad(part, room) for pair in new for part in pair])
        last = tf.gather(states[-1], given - 1, batch_dims=1)
        return last, tf.reshape(cache, [-1, cache.shape[-1]])

    def step(self, last: Any, at: Any, S: Any, cache: Any) -> tuple[Any, Any]:
        """Return the hidden states [B, D] after one more token in each row, and the cache with it.

        The token of row b stands at position `at[b]` and goes into that slot. A row that ended
        before the others would at last leave its cache; its tokens stay in the last slot, where
        nothing reads them.
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
        with tf.control_dependencies([states[-1]]):  # written in place, once all layers have read
            cache = tf.raw_ops.InplaceUpdate(x=cache, i=tf.reshape(rows, [-1]), v=fresh)
        return states[-1][:, 0], cache


def draw(
    logits: Float[Any, "B V"],
    top_p: Float[Any, " B"],
    temperature: Float[Any, " B"],
    seed: Int[Any, " 2"],
) -> Int[Any, " B"]:
    """Return an id for each row, drawn from its distribution; the same for the same seed."""
    scores = tf.cast(logits, tf.float64)
    heat = tf.cast(tf.where(temperature == 0, tf.ones_like(temperature), temperature), tf.float64)
    weights = tf.exp((scores - tf.reduce_max(scores, 1, keepdims=True)) / heat[:, None])
    order = tf.argsort(logits, direction="DESCENDING", stable=True)  # of equals the lower id first
    falling = tf.gather(weights, order, batch_dims=1)
    share = tf.cast(top_p, tf.float64) * tf.reduce_sum(falling, 1)
    kept = tf.cumsum(falling, 1, exclusive=True) < share[:, None]
    edges = tf.cumsum(tf.where(kept, falling, tf.zeros_like(falling)), 1)
    u = tf.random.stateless_uniform(tf.shape(share), seed, dtype=tf.float64)
    place = tf.reduce_sum(tf.cast(edges <= u[:, None] * edges[:, -1:], tf.int32), 1)
    last = tf.reduce_sum(tf.cast(kept, tf.int32), 1) - 1
    place = tf.where(temperature == 0, 0, tf.maximum(0, tf.minimum(place, last)))
    return tf.cast(tf.gather(order, place, batch_dims=1), tf.int64)
