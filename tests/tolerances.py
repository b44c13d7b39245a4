"""How far results may lie from the reference, by dtype: largest absolute difference of logits.

One table for all tests. The reference's logits have a standard deviation of 1.2 to 1.5.
"""

LOGITS = {
    "float32": 1e-4,
    # Weights rounded to 11 and 8 significant bits, products in float32: 5.2e-3 and 4.7e-2 were
    # measured on the tiny checkpoints.
    "float16": 1e-2,
    "bfloat16": 8e-2,
}

HIDDEN = 1e-4
"""Hidden states in float32, after every block and after the last norm."""
