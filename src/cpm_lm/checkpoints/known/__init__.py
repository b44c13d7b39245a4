"""What is known of published models: digests, numbers of heads, and what they say wrongly."""
