"""What a vote is worth: accuracy on sums that were kept from training."""
