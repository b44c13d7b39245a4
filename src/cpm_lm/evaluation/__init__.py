"""Evaluate models on texts: the divergence of two models, and perplexity.

Knows engines, tokenizers and distributions; does not know how weights are stored.
"""
