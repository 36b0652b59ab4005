"""Recall tables, and a bundle with which any service turns a user's fields and clicks into candidates.

`Recall`, `Served` and `Request` need numpy, pyarrow, faiss and torch alone: `pip install divspa[serving]`.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from divspa.serving.encoder import Request
    from divspa.serving.recall import Candidates, Recall, Served

__all__ = ["Candidates", "Recall", "Request", "Served"]


def __getattr__(name: str) -> Any:
    """Each name comes with its first use: the settings, which lie beside, are plain data and load none of it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    from divspa.serving import encoder, recall

    return getattr(encoder if name == "Request" else recall, name)
