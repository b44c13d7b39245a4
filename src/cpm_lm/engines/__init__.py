"""Engines: each computes a model's forward pass over a forest of tokens."""
