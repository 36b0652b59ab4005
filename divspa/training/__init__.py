"""Losses, negatives, the training loop and checkpoints."""
