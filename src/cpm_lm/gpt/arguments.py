"""The arguments of an exported model's signatures: their specs and checks, and padded batches.

Knows TensorFlow; does not know the network. A padded batch is inp, int64[B, T], and a mask of the
same shape, 1 for the prompt's ids and 0 for padding. The ones of a row must be adjacent; padding
may be on the left, on the right or on both sides. Ids where the mask is 0 are not read, so any
number may be used there, also an id of the vocabulary.
Axes: B batch, T columns of `inp`, W tokens of the longest prompt.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from cpm_lm.config import GPTConfig
from cpm_lm.shapes import Bool, Int

__all__ = [
    "GIVEN",
    "IDS",
    "LENGTH",
    "MASK",
    "SEED",
    "TEMPERATURE",
    "TOP_P",
    "checked_mask",
    "ids_checks",
    "left_aligned",
    "random_seed",
    "rules_checks",
]

IDS = tf.TensorSpec([None, None], tf.int64, "inp")
MASK = tf.TensorSpec([None, None], tf.int64, "mask")
GIVEN = tf.TensorSpec(None, tf.int64, "given")  # of any rank: one number, or one per row
LENGTH = tf.TensorSpec(None, tf.int64, "length")  # the same holds for the next two
TOP_P = tf.TensorSpec(None, tf.float32, "top_p")
TEMPERATURE = tf.TensorSpec(None, tf.float32, "temperature")
SEED = tf.TensorSpec([], tf.int64, "seed")


def random_seed() -> Any:
    """Return a random number at each run; the seeds of the exporting process do not fix it."""
    low, high = (tf.constant(bound, tf.int64) for bound in (tf.int64.min, tf.int64.max))
    return tf.raw_ops.RandomUniformInt(
        shape=tf.constant([], tf.int32), minval=low, maxval=high, seed=0, seed2=0
    )


def ids_checks(config: GPTConfig, inp: Any, given: Any, length: Any = 0) -> list[Any]:
    """Return assertions that fail with a message if the model cannot read or continue `inp`.

    Args:
        config: the model's shape.
        inp: ids; the ids after the end of a prompt must also be in the vocabulary.
        given: the number of prompt tokens: one number, or one per row.
        length: the number of tokens to draw: one number, or one per row.
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
    """Return assertions that fail with a message if an argument is out of range."""
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
    """Return the mask as booleans; fail with a message if it does not describe padding of `inp`."""
    sizes = tf.shape(inp), tf.shape(mask)
    shape_text = "mask does not have the shape of inp; give 0 or 1 for each id. inp and mask:"
    with tf.control_dependencies(_assertions({shape_text: (sizes[0] == sizes[1], *sizes)})):
        mask = tf.identity(mask)
    given = mask == 1
    begins = given & ~tf.pad(given, [[0, 0], [1, 0]])[:, :-1]
    runs = tf.reduce_sum(tf.cast(begins, tf.int64), 1)
    binary = given | (mask == 0)
    wanted = {
        "mask holds numbers other than 0 and 1:": (binary, tf.boolean_mask(mask, ~binary)),
        "mask has no 1 in these rows (from 0); give at least one id for each row:": (
            runs > 0,
            tf.where(runs == 0)[:, 0],
        ),
        "mask has a 0 between ones in these rows (from 0); the ids of a prompt must be adjacent:": (
            runs < 2,
            tf.where(runs > 1)[:, 0],
        ),
    }
    with tf.control_dependencies(_assertions(wanted)):
        return tf.identity(given)


def left_aligned(
    inp: Int[Any, "B T"], given: Bool[Any, "B T"], filler: int
) -> tuple[Int[Any, "B W"], Int[Any, " B"], Int[Any, " B"]]:
    """Return the prompts moved to column 0 and padded with `filler`, their starts and lengths.

    With filler 0, the ids [[9, 9, 5], [6, 7, 9]] and the mask [[0, 0, 1], [1, 1, 0]] give
    [[5, 0], [6, 7]], the starts [2, 0] and the lengths [1, 2].
    """
    counts = tf.reduce_sum(tf.cast(given, tf.int64), 1)
    T = tf.shape(inp, tf.int64)[1]
    zero = tf.constant(0, tf.int64)
    W = tf.maximum(zero, tf.reduce_max(counts))  # without rows there is no maximum
    first = tf.argmax(tf.cast(given, tf.int32), 1)
    columns = tf.minimum(first[:, None] + tf.range(W), T - 1)
    ids = tf.gather(inp, columns, batch_dims=1)
    return tf.where(tf.range(W) < counts[:, None], ids, filler), first, counts


def _assertions(wanted: dict[str, tuple[Any, ...]]) -> list[Any]:
    """Return an assertion per message: its first value must be true, the others are printed."""
    return [
        tf.debugging.Assert(tf.reduce_all(good), [text, *found])
        for text, (good, *found) in wanted.items()
    ]
