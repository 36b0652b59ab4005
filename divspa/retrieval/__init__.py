"""Top-k search with FAISS over Spark."""
