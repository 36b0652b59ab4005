"""Top-k search with FAISS over Spark."""

from divspa.retrieval.failures import worker_errors
from divspa.retrieval.plans import search, top_k
from divspa.retrieval.settings import SearchReport, SearchSettings

__all__ = ["SearchReport", "SearchSettings", "search", "top_k", "worker_errors"]
