"""Typed, padded batches from Delta; the only place that imports petastorm."""
