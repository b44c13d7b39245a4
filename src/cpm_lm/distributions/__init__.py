"""From logits to probabilities and to token ids, on the host. Pure functions of numbers."""
