"""Benchmarks that print our figure, the reference's and their ratio, all of one run."""
