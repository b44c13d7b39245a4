"""Checkpoints: read, check and merge the published layouts; write our own store.

Knows files, numpy and tokenizer directories; does not know frameworks or engines.
"""
