"""File formats: bytes to named tensors and back.

Knows formats; does not know models or configurations.
"""
