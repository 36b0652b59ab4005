"""A first look at a log that nobody has described yet: what its columns mean, and what is in it."""
