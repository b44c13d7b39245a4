"""The accuracy of votes on held-out sums."""
