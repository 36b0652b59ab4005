"""Exact ranks in the whole catalogue; ties count against the model, NaN and infinity are errors."""

from dataclasses import dataclass

import numpy as np

from divspa.errors import TrainingError
from divspa.publishing.fusion import top_items


@dataclass(frozen=True)
class Ranked:
    """The rank of each test item from 0, flat like the items asked for, and the best k items of the shown users."""

    ranks_T: np.ndarray
    top_SK: np.ndarray


def rank_users(
    scores_UN: np.ndarray,
    hidden: tuple[np.ndarray, np.ndarray],
    asked: tuple[np.ndarray, np.ndarray],
    shown_S: np.ndarray,
    k: int,
) -> Ranked:
    """Rank every catalogue item for every user, look up the asked items, and list the best k for S of the users.

    The scores [U, N] are overwritten. `hidden` and `asked` are pairs of (user row, item row) arrays: items left out of
    the user's list, and test items. An asked item row of -1 is outside the catalogue and ranks last, behind all N
    items. A rank is the number of other items that score at least as high, so an all-equal scorer ranks everything
    last. Raises TrainingError on NaN and infinity.
    """
    if not np.isfinite(scores_UN).all():
        raise TrainingError(
            "A score is not finite", remedy="look at the training run's losses; lower the learning rate"
        )
    scores_UN[hidden] = -np.inf
    row_T, item_T = asked
    known_T = item_T >= 0
    score_T = np.where(known_T, scores_UN[row_T, item_T], -np.inf)
    ranks_T = np.full(len(row_T), scores_UN.shape[1])
    for place in np.flatnonzero(known_T):
        ranks_T[place] = np.count_nonzero(scores_UN[row_T[place]] >= score_T[place]) - 1
    return Ranked(ranks_T, top_items(scores_UN[shown_S], k))
