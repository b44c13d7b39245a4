"""Engines: each grows forests of tokens and answers what a call wants of their logits."""
