"""What a person asks for: options, completions, votes. Text above, token ids below."""
