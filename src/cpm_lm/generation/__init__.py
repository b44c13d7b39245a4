"""Requests for completions and votes, and their options: between text and token ids."""
