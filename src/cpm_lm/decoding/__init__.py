"""From logits to token ids: rules, randomness, sampling, stopping, and who drives them."""
