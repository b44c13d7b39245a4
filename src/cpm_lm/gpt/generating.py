"""The program of an exported SavedModel: TensorFlow functions that continue batches of ids.

Knows TensorFlow graphs; does not know files or text. The traced functions run without this
package. The signature is that of the first TensorFlow port. The sampling rules are those of
`distributions`: the temperature first, then the nucleus (the token that crosses top-p included);
at temperature 0 the likeliest token.
Axes: B batch, T prompt tokens, S = T + length slots of the KV cache, L layers, N heads, H head
size, D width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf
from jaxtyping import Float, Int

from cpm_lm.gpt.gpt import GPT
from cpm_lm.gpt.layers import causal

__all__ = ["SHORT_TOP_P", "generator"]

SHORT_TOP_P = 0.95
"""The top-p of the first port's float16 model, which has no argument for it."""

IDS = tf.TensorSpec([None, None], tf.int64, "inp")
LENGTH = tf.TensorSpec(None, tf.int64, "length")  # of any rank: one number, or one per row
TOP_P = tf.TensorSpec(None, tf.float32, "top_p")
TEMPERATURE = tf.TensorSpec(None, tf.float32, "temperature")
SEED = tf.TensorSpec([], tf.int64, "seed")


def generator(
    model: GPT, ends: Sequence[int], *, extra: int = 0, short: bool = False
) -> tuple[tf.Module, dict[str, Any]]:
    """Return the arguments of `tf.saved_model.save`: an object with the weights, and signatures.

    `serving_default(inp: int64[B, T], length, top_p, temperature) -> int64[B, T + length]` returns
    the prompt's ids and those drawn. The last three arguments are one number, or one per row. A
    row that has ended is padded with the first of `ends`; the loop stops when all rows have ended.
    `seeded` has one more argument, `seed`; the same seed gives the same result. `logits(inp)`
    returns the logits float32[B, T, V].

    Args:
        model: the Keras model, on TensorFlow.
        ends: the end ids.
        extra: the number of tokens to draw beyond `length`.
        short: without the arguments top_p, which is 0.95 then, and temperature, which is 1.
    """
    program = _Program(model, ends, extra)
    seeded = traced(program.generate, IDS, LENGTH, TOP_P, TEMPERATURE, SEED)

    def full(inp: Any, length: Any, top_p: Any, temperature: Any) -> Any:
        return seeded(inp, length, top_p, temperature, random_seed())

    def two(inp: Any, length: Any) -> Any:
        return seeded(inp, length, tf.constant(SHORT_TOP_P), tf.constant(1.0), random_seed())

    module = tf.Module()
    module.weights = [variable.value for variable in model.variables]  # tracked, hence saved
    return module, {
        "serving_default": traced(two, IDS, LENGTH)
        if short
        else traced(full, IDS, LENGTH, TOP_P, TEMPERATURE),
        "seeded": seeded,
        "logits": traced(lambda inp: model(inp), IDS),
    }


def traced(function: Any, *signature: tf.TensorSpec) -> Any:
    """Return a TensorFlow function of this signature."""
    return tf.function(function, input_signature=signature, autograph=False)


def random_seed() -> Any:
    """Return a random number at each run; the seeds of the exporting process do not fix it."""
    low, high = (tf.constant(bound, tf.int64) for bound in (tf.int64.min, tf.int64.max))
    return tf.raw_ops.RandomUniformInt(
        shape=tf.constant([], tf.int32), minval=low, maxval=high, seed=0, seed2=0
    )


class _Program:
    """The decoding loop, as functions to be traced."""

    def __init__(self, model: GPT, ends: Sequence[int], extra: int) -> None:
        self.model, self.ends, self.extra = model, tuple(ends), extra

    def generate(self, inp: Any, length: Any, top_p: Any, temperature: Any, seed: Any) -> Any:
        """Return the ids of `inp` and the ids drawn after them."""
        with tf.control_dependencies(self.checks(inp, length, top_p, temperature)):
            inp = tf.identity(inp)
        B, T = tf.unstack(tf.shape(inp, tf.int64))
        longest = tf.reduce_max(length)
        budget = tf.broadcast_to(length, [B]) + self.extra
        top_p, temperature = (tf.broadcast_to(x, [B]) for x in (top_p, temperature))
        ends = tf.constant(self.ends, tf.int64)
        # Transposed once: a product that transposes the embedding itself is several times slower.
        output = tf.transpose(tf.cast(self.model.wte.embeddings.value, self.model.compute_dtype))

        def draw_next(i: Any, hidden: Any, ids: Any, done: Any) -> tuple[Any, Any, Any]:
            logits = tf.cast(tf.matmul(hidden[:, -1], output), tf.float32)
            new = draw(logits, top_p, temperature, tf.stack([seed, i]))
            new = tf.where(done, ends[0], new)
            last = new[:, None]
            ids = tf.where(tf.range(tf.shape(ids, tf.int64)[1]) == T + i, last, ids)
            done = done | tf.reduce_any(last == ends, 1) | (i + 1 >= budget)
            return last, ids, done

        def step(i: Any, last: Any, ids: Any, done: Any, cache: Any) -> tuple[Any, ...]:
            hidden, cache = self.step(last, T + i - 1, T + longest, cache)
            return (i + 1, *draw_next(i, hidden, ids, done), cache)

        def unfinished(i: Any, *state: Any) -> Any:
            return (i < longest + self.extra) & ~tf.reduce_all(state[2])

        hidden, cache = self.prefill(inp, longest)
        ids = tf.pad(inp, [[0, 0], [0, longest + self.extra]], constant_values=self.ends[0])
        last, ids, done = draw_next(tf.constant(0, tf.int64), hidden, ids, budget <= 0)
        start = (tf.constant(1, tf.int64), last, ids, done, cache)
        shapes = tuple(tf.TensorShape([None] * axes) for axes in (0, 2, 2, 1, 2))
        return tf.while_loop(unfinished, step, start, shapes, parallel_iterations=1)[2]

    def prefill(self, inp: Any, longest: Any) -> tuple[Any, Any]:
        """Return the hidden states of the prompt, and a KV cache with room for `longest` tokens.

        The cache is one tensor [2 L B N S, H]: keys, then values, per layer. TensorFlow's optimizer
        may merge several tensors of equal shape and contents into one, which `step` would then
        overwrite.
        """
        T = tf.shape(inp)[1]
        states, new = self.model.forward(inp, tf.range(T)[None], causal(T))
        room = [[0, 0], [0, 0], [0, tf.cast(longest, tf.int32)], [0, 0]]
        cache = tf.stack([tf.pad(part, room) for pair in new for part in pair])
        return states[-1], tf.reshape(cache, [-1, cache.shape[-1]])

    def step(self, last: Any, at: Any, S: Any, cache: Any) -> tuple[Any, Any]:
        """Compute one more token in each row; return the hidden states and the updated cache."""
        L, N, H = self.model.config.n_layer, self.model.config.n_head, self.model.config.head_size
        B, T = tf.unstack(tf.shape(last))
        at, S = tf.cast(at, tf.int32), tf.cast(S, tf.int32)
        by_layer = tf.unstack(tf.reshape(cache, [2 * L, B, N, S, H]))  # views, not copies
        past = list(zip(by_layer[::2], by_layer[1::2], strict=True))
        seen = tf.concat([tf.broadcast_to(tf.range(S) < at, [1, T, S]), causal(T)], 2)
        states, new = self.model.forward(last, at + tf.range(T)[None], seen, past)
        fresh = tf.reshape(tf.stack([part for pair in new for part in pair]), [-1, H])
        rows = tf.range(2 * L * B * N) * S + at
        with tf.control_dependencies([states[-1]]):  # updated in place, after all layers have read
            return states[-1], tf.raw_ops.InplaceUpdate(x=cache, i=rows, v=fresh)

    def checks(self, inp: Any, length: Any, top_p: Any, temperature: Any) -> list[Any]:
        """Return assertions that fail with a message if an argument is out of range."""
        P, V = self.model.config.n_positions, self.model.config.vocab_size
        T = tf.shape(inp, tf.int64)[1]
        wanted = {
            "inp has no ids; give at least one for each row": (T > 0,),
            f"inp holds ids that are not 0 to {V - 1}": ((inp >= 0) & (inp < V),),
            "length is negative:": (length >= 0, length),
            f"the ids given and length exceed the context of {P} positions; give fewer "
            "ids or a smaller length:": (T + length <= P, T, length),
            "top_p is not 0 to 1:": ((top_p >= 0) & (top_p <= 1), top_p),
            "temperature is negative or not finite:": (
                (temperature >= 0) & tf.math.is_finite(temperature),
                temperature,
            ),
        }
        return [
            tf.debugging.Assert(tf.reduce_all(good), [text, *found])
            for text, (good, *found) in wanted.items()
        ]


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
