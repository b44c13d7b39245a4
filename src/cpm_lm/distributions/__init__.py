"""Numbers only: from logits to probabilities and to token ids, on the host. Below the engines."""
