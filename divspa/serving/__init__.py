"""Recall tables, the FAISS index and the exported user tower."""
