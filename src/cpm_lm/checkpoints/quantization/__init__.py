"""Quantization to 8 and 4 bits: the stored format, and the choice of codes and scales.

Knows matrices and the table of tensors; does not know checkpoint layouts.
"""
