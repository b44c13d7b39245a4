"""A Keras model's matrices as TensorFlow multiplies by them fastest on a CPU.

Knows layers with a kernel and a bias; does not know blocks, caches or steps.
"""

from __future__ import annotations

import math
from typing import Any

import tensorflow as tf
from jaxtyping import Float

__all__ = ["TransposedMatrices"]


class TransposedMatrices:
    """The matrices of all blocks, [outputs, inputs], taken from the model one at a time.

    oneDNN multiplies such a matrix by 32 columns in half the time that 32 rows take times a matrix
    [inputs, outputs].

    Args:
        model: the Keras model; its blocks' matrices are empty afterwards.
    """

    def __init__(self, model: Any) -> None:
        self.dtype = tf.as_dtype(model.compute_dtype)
        self.kept = {layer: _taken(layer) for block in model.blocks for layer in _layers(block)}

    def product(
        self, layer: Any, x: Float[Any, "1 T I"], *, one: bool = False
    ) -> Float[Any, "1 T O"]:
        """Return x times the layer's matrix plus its bias: a `layers.Product`; see `multiply`."""
        bias = tf.reshape(tf.cast(layer.bias.value, self.dtype), [-1])
        return (multiply(tf.cast(self.kept[layer], self.dtype), x[0], one=one) + bias)[None]


def multiply(
    matrix: Float[Any, "O I"], rows: Float[Any, "T I"], *, one: bool = False
) -> Float[Any, "T O"]:
    """Return rows times the matrix transposed; the matrix comes first in the product.

    As a batch of one product, if it is not for one row: oneDNN's code for batches takes 0.6 times
    the time at 32 rows, and 1.3 times at one.
    """
    if one:
        return tf.transpose(tf.matmul(matrix, rows, transpose_b=True))
    return tf.transpose(tf.matmul(matrix[None], rows[None], transpose_b=True)[0])


def _layers(block: Any) -> tuple[Any, ...]:
    attention, network = block.attention, block.feed_forward
    return attention.qkv, attention.out, network.widen, network.narrow


def _taken(layer: Any) -> Any:
    """Return a layer's matrix [outputs, inputs], and leave its variable without memory."""
    variable = layer.kernel.value
    flat = tf.reshape(variable, [-1, math.prod(layer.bias.shape)])
    taken = tf.transpose(flat)
    # Past the variable's own `assign`, which insists on the shape: two copies would stay in memory.
    tf.raw_ops.AssignVariableOp(resource=variable.handle, value=tf.zeros([0], variable.dtype))
    return taken
