"""Checks of models on disk: their files, their numbers, their loss, and each other.

Knows checkpoints, tokenizers and engines; does not know how they are printed.
"""
