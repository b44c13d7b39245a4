"""Decoding algorithms on token ids: sampling, exact search, randomness and the scheduler."""
