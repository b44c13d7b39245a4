"""Formats of files: bytes to named tensors and back. Knows no model and no configuration."""
