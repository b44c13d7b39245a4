"""Tolerances by dtype: the largest absolute difference of logits from the reference.

One table for all tests. The reference's logits have a standard deviation of 1.2 to 1.5.
"""

LOGITS = {
    "float32": 1e-4,
    # Weights rounded to 11 and 8 significant bits, products in float32: 5.2e-3 and 4.7e-2 were
    # measured on the tiny checkpoints.
    "float16": 1e-2,
    "bfloat16": 8e-2,
    # Packed weights in the kernels against the same weights dequantized; the kernels round
    # activations to 16 bits. The relative error of a product is 0.3 / 32767 times the ratio of a
    # row's largest activation to its typical one: 1e-5 for random models, ten times that with the
    # outliers of trained ones; a model accumulates a few dozen of them. 1.0e-3 was measured on the
    # packaged model, whose logits have a standard deviation of 2. Activations in 8 bits, with 256
    # times the error, would fail.
    "packed": 2e-3,
}

HIDDEN = 1e-4
"""Hidden states in float32, after every block and after the last norm."""
