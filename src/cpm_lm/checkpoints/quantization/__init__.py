"""Weights in 8 and 4 bits: how they lie in bytes, and how codes and scales are chosen."""
