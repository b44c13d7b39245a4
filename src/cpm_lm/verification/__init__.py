"""Inspect and verify models on disk: files, values, loss, and logits against another model.

Knows checkpoints, tokenizers and engines; does not know how results are printed.
"""
