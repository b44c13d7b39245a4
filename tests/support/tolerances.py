"""How far results may lie from the reference, by dtype: largest absolute difference of logits.

One table for all tests. The reference's logits have a standard deviation of 1.2 to 1.5.
"""

LOGITS = {
    "float32": 1e-4,
    # Weights rounded to 11 and 8 significant bits, products in float32: 5.2e-3 and 4.7e-2 were
    # measured on the tiny checkpoints.
    "float16": 1e-2,
    "bfloat16": 8e-2,
    # The same packed weights in the kernels and widened: activations rounded to 16 bits. A product
    # is then off by 0.3 / 32767 of the ratio of a row's largest activation to its usual one, 1e-5
    # of its size for random models and ten times that where training has made outliers; a model
    # adds up a few dozen of those. 1.0e-3 was measured on the packaged model, whose logits have a
    # standard deviation of 2. Activations in 8 bits, 256 times as far off, would not pass.
    "packed": 2e-3,
}

HIDDEN = 1e-4
"""Hidden states in float32, after every block and after the last norm."""
