"""DivSPA: diversified positive augmentation for candidate generation, on Spark, Delta, torch and FAISS.

Public are the names below, the command line, the configuration, the tables and `divspa.serving`; all else may change
from version to version. A name is loaded when it is asked for, so that `import divspa` costs nothing.

- `search(queries, index, k)`: top-k of one table of vectors against another, with a report of plan and recall.
- `augment(pairs, users, items)`: more positives for every pair, from the embeddings of any model (Section 3.2).
- `losses`: the sampled softmax and both mix-up losses on plain tensors (Eq. 1 to 3).
- `evaluate(lists, events)`: metrics of any recommended lists, and what their differences are worth.
- `run(config, ds)`: the stages of a day, from a `Config` that is built in Python.
- `errors`: what all of them raise; a message names the thing, what was expected and found, and the remedy.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from divspa import errors, losses
    from divspa.api import Evaluation, augment, evaluate, run
    from divspa.augmentation.settings import DivSPA
    from divspa.config import Config
    from divspa.retrieval import SearchReport, SearchSettings, search

__version__ = "0.1.0"
__all__ = [
    "Config",
    "DivSPA",
    "Evaluation",
    "SearchReport",
    "SearchSettings",
    "augment",
    "errors",
    "evaluate",
    "losses",
    "run",
    "search",
]
HOMES = {
    "Config": "divspa.config",
    "DivSPA": "divspa.augmentation.settings",
    "SearchReport": "divspa.retrieval",
    "SearchSettings": "divspa.retrieval",
    "search": "divspa.retrieval",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'divspa' has no attribute {name!r}")
    try:
        if name in ("errors", "losses"):
            return import_module(f"divspa.{name}")
        return getattr(import_module(HOMES.get(name, "divspa.api")), name)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == "divspa":
            raise
        from divspa.errors import SetupError

        raise SetupError(
            f"divspa.{name} needs more than a service does",
            expected=f"the package {error.name}",
            found="it is not installed",
            remedy="pip install 'divspa[pipeline]'",
        ) from error


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
