"""The arguments of an exported model's signatures: their kinds, their checks, padded batches.

Knows TensorFlow; does not know the network. A padded batch is inp, int64[B, T], and a mask of the
same shape, 1 where an id was given and 0 where not. The ones of a row lie side by side, anywhere:
on the left, on the right, or between. What stands where the mask is 0 is never read, so any number
may pad, an id of the vocabulary or not.
Axes: B batch, T columns of `inp`, W ids of the longest row.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from jaxtyping import Bool, Int

from cpm_lm.config import GPTConfig

__all__ = [
    "GIVEN",
    "IDS",
    "LENGTH",
    "MASK",
    "SEED",
    "TEMPERATURE",
    "TOP_P",
    "checked_mask",
    "fresh_seed",
    "ids_checks",
    "left_aligned",
    "rules_checks",
]

IDS = tf.TensorSpec([None, None], tf.int64, "inp")
MASK = tf.TensorSpec([None, None], tf.int64, "mask")
GIVEN = tf.TensorSpec(None, tf.int64, "given")  # of any rank: a number, or one for each row
LENGTH = tf.TensorSpec(None, tf.int64, "length")  # so are the next two
TOP_P = tf.TensorSpec(None, tf.float32, "top_p")
TEMPERATURE = tf.TensorSpec(None, tf.float32, "temperature")
SEED = tf.TensorSpec([], tf.int64, "seed")


def fresh_seed() -> Any:
    """Return a random number that no seed of the process that exported can fix."""
    low, high = (tf.constant(bound, tf.int64) for bound in (tf.int64.min, tf.int64.max))
    return tf.raw_ops.RandomUniformInt(
        shape=tf.constant([], tf.int32), minval=low, maxval=high, seed=0, seed2=0
    )


def ids_checks(config: GPTConfig, inp: Any, given: Any, length: Any = 0) -> list[Any]:
    """Return what fails, with a word on why, where `inp` does not suit the model.

    Args:
        config: the model's shape.
        inp: ids; those that were not given are of the vocabulary, too.
        given: how many ids were given: a number, or one for each row.
        length: how many tokens to draw, likewise.
    """
    P, V = config.n_positions, config.vocab_size
    return _assertions(
        {
            "inp has no ids; give at least one for each row": (given > 0,),
            f"inp holds ids that are not 0 to {V - 1}": ((inp >= 0) & (inp < V),),
            f"the ids given and length exceed the context of {P} positions; give fewer "
            "ids or a smaller length:": (length <= P - given, given, length),
        }
    )


def rules_checks(length: Any, top_p: Any, temperature: Any) -> list[Any]:
    """Return what fails, with a word on why, where one of these is out of its range."""
    return _assertions(
        {
            "length is negative:": (length >= 0, length),
            "top_p is not 0 to 1:": ((top_p >= 0) & (top_p <= 1), top_p),
            "temperature is negative or not finite:": (
                (temperature >= 0) & tf.math.is_finite(temperature),
                temperature,
            ),
        }
    )


def checked_mask(inp: Any, mask: Any) -> Bool[Any, "B T"]:
    """Return where ids were given; fail where the mask does not fit `inp` or is no padding's."""
    sizes = tf.shape(inp), tf.shape(mask)
    shape_text = "mask has not the shape of inp; give a 0 or a 1 for each id. inp and mask:"
    with tf.control_dependencies(_assertions({shape_text: (sizes[0] == sizes[1], *sizes)})):
        mask = tf.identity(mask)
    given = mask == 1
    begins = given & ~tf.pad(given, [[0, 0], [1, 0]])[:, :-1]
    runs = tf.reduce_sum(tf.cast(begins, tf.int64), 1)
    binary = given | (mask == 0)
    rows = "in these rows, counted from 0:"
    wanted = {
        "mask holds numbers other than 0 and 1:": (binary, tf.boolean_mask(mask, ~binary)),
        f"mask has no 1, so no id is given, {rows}": (runs > 0, tf.where(runs == 0)[:, 0]),
        f"mask has a hole; the ids given must lie side by side. It has more than one run of 1 "
        f"{rows}": (runs < 2, tf.where(runs > 1)[:, 0]),
    }
    with tf.control_dependencies(_assertions(wanted)):
        return tf.identity(given)


def left_aligned(
    inp: Int[Any, "B T"], given: Bool[Any, "B T"], filler: int
) -> tuple[Int[Any, "B W"], Int[Any, " B"], Int[Any, " B"]]:
    """Return each row's ids from column 0 on, then `filler`; where they began; how many they are.

    With filler 0, [[9, 9, 5], [6, 7, 9]] given at [[0, 0, 1], [1, 1, 0]] is [[5, 0], [6, 7]];
    they began at [2, 0] and are [1, 2].
    """
    counts = tf.reduce_sum(tf.cast(given, tf.int64), 1)
    T = tf.shape(inp, tf.int64)[1]
    W = tf.maximum(tf.constant(0, tf.int64), tf.reduce_max(counts))  # no rows have no maximum
    first = tf.argmax(tf.cast(given, tf.int32), 1)
    columns = tf.minimum(first[:, None] + tf.range(W), T - 1)
    ids = tf.gather(inp, columns, batch_dims=1)
    return tf.where(tf.range(W) < counts[:, None], ids, filler), first, counts


def _assertions(wanted: dict[str, tuple[Any, ...]]) -> list[Any]:
    """Return an assertion for each text: that its first value holds; the others are shown."""
    return [
        tf.debugging.Assert(tf.reduce_all(good), [text, *found])
        for text, (good, *found) in wanted.items()
    ]
