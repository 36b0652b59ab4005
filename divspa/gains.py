"""What a rank is worth: the gain of each event, by which models are stopped, chosen, and compared."""

import re

import numpy as np
from numpy.typing import NDArray

# hr, ndcg or mrr, of the first k places or, without k, of the whole catalogue.
CRITERION = r"(ndcg|mrr)(@[1-9][0-9]{0,6})?|hr@[1-9][0-9]{0,6}"


def gains(ranks_T: NDArray[np.integer], criterion: str) -> NDArray[np.float64]:
    """What each event adds to a criterion, such as hr@50 or ndcg, from its rank, which counts from 0.

    With one relevant item an event, ndcg is 1 / log2(rank + 2).
    """
    kind, _, k = criterion.partition("@")
    gain_T = {
        "hr": lambda: np.ones(len(ranks_T)),
        "ndcg": lambda: 1 / np.log2(ranks_T + 2.0),
        "mrr": lambda: 1 / (ranks_T + 1.0),
    }[kind]()
    return np.where(ranks_T < int(k), gain_T, 0.0) if k else gain_T


def known_criterion(name: str) -> str:
    """The same name. Raises ValueError for none of CRITERION."""
    if not re.fullmatch(CRITERION, name):
        raise ValueError("a criterion is hr@K, ndcg@K, mrr@K, ndcg or mrr")
    return name
