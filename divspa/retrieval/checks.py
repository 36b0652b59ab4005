"""What must hold for every batch of results; broken, it is a fault of the search and not of its input."""

import numpy as np
from numpy.typing import NDArray

from divspa.errors import TrainingError
from divspa.retrieval.kernel import TopK


def checked(found: TopK, query_ids_N: NDArray[np.int64], exclude_self: bool) -> TopK:
    """The same results. Raises TrainingError when a query lacks its row, or scores are not finite and descending."""
    if len(found) != len(query_ids_N):
        raise _broken(f"{len(query_ids_N)} lists of results", f"{len(found)}")
    if not np.isfinite(found.scores_M).all():
        raise _broken("finite scores", "NaN or infinity")
    first_of_list = np.zeros(len(found.scores_M) + 1, bool)
    first_of_list[found.offsets_N1] = True
    if (np.diff(found.scores_M) > 0)[~first_of_list[1:-1]].any():
        raise _broken("scores in descending order", "an ascending pair")
    if exclude_self and (np.repeat(query_ids_N, np.diff(found.offsets_N1)) == found.ids_M).any():
        raise _broken("no query among its own results", "one that is")
    return found


def _broken(expected: str, found: str) -> TrainingError:
    return TrainingError("A search broke its own promise", expected=expected, found=found, remedy="report this fault")
