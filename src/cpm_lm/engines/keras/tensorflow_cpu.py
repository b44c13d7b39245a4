"""The matrices of a Keras model, transposed as TensorFlow multiplies fastest on a CPU.

Knows the layers of a block; does not know caches or steps.
"""

from __future__ import annotations

import math
from typing import Any

import tensorflow as tf

from cpm_lm.shapes import Float

__all__ = ["TransposedMatrices"]


class TransposedMatrices:
    """The matrices of all blocks, [outputs, inputs], moved out of the model one at a time.

    oneDNN multiplies such a matrix by 32 columns in half the time of 32 rows times a matrix
    [inputs, outputs].

    Args:
        model: the Keras model; its blocks' matrices are empty afterwards.
    """

    def __init__(self, model: Any) -> None:
        self.dtype = tf.as_dtype(model.compute_dtype)
        layers = [layer for block in model.blocks for layer in _layers(block)]
        self.matrices = {layer: _move_transposed(layer) for layer in layers}

    def product(
        self, layer: Any, x: Float[Any, "1 T I"], *, one: bool = False
    ) -> Float[Any, "1 T O"]:
        """Return x times the layer's matrix plus its bias: a `layers.Product`; see `multiply`."""
        bias = tf.reshape(tf.cast(layer.bias.value, self.dtype), [-1])
        return (multiply(tf.cast(self.matrices[layer], self.dtype), x[0], one=one) + bias)[None]


def multiply(
    matrix: Float[Any, "O I"], rows: Float[Any, "T I"], *, one: bool = False
) -> Float[Any, "T O"]:
    """Return rows times the matrix transposed; the matrix is the left operand.

    Several rows are multiplied as a batch of one product: oneDNN's batched code takes 0.6 times as
    long at 32 rows, and 1.3 times as long at one.
    """
    if one:
        return tf.transpose(tf.matmul(matrix, rows, transpose_b=True))
    return tf.transpose(tf.matmul(matrix[None], rows[None], transpose_b=True)[0])


def _layers(block: Any) -> tuple[Any, ...]:
    attention, network = block.attention, block.feed_forward
    return attention.qkv, attention.out, network.widen, network.narrow


def _move_transposed(layer: Any) -> Any:
    """Return a layer's matrix [outputs, inputs], and free the memory of its variable."""
    variable = layer.kernel.value
    matrix = tf.transpose(tf.reshape(variable, [-1, math.prod(layer.bias.shape)]))
    # The raw operation, because `assign` refuses another shape, and a second copy would remain.
    tf.raw_ops.AssignVariableOp(resource=variable.handle, value=tf.zeros([0], variable.dtype))
    return matrix
