"""Feature embeddings and towers behind one protocol."""
