"""Exact ranks in the whole catalogue; ties count against the model and NaN is an error."""

from dataclasses import dataclass

import numpy as np

from divspa.errors import TrainingError


@dataclass(frozen=True)
class Ranked:
    """The rank of each test item from 0, flat like the items asked for, and the best k items of the shown users."""

    ranks_T: np.ndarray
    top_SK: np.ndarray


def rank_users(
    users_UD: np.ndarray,
    items_ND: np.ndarray,
    hidden: tuple[np.ndarray, np.ndarray],
    asked: tuple[np.ndarray, np.ndarray],
    shown_S: np.ndarray,
    k: int,
) -> Ranked:
    """Rank every catalogue item for every user, look up the asked items, and list the best k for S of the users.

    `hidden` and `asked` are pairs of (user row, item row) arrays: items left out of the user's list, and test items.
    An asked item row of -1 is outside the catalogue and ranks last, behind all N items. A rank is the number of other
    items that score at least as high, so an all-equal scorer ranks everything last. Raises TrainingError on NaN.
    """
    scores_UN = users_UD @ items_ND.T
    if np.isnan(scores_UN).any():
        raise TrainingError("A score is NaN", remedy="look at the training run's losses; lower the learning rate")
    scores_UN[hidden] = -np.inf
    row_T, item_T = asked
    known_T = item_T >= 0
    score_T = np.where(known_T, scores_UN[row_T, item_T], -np.inf)
    ranks_T = np.full(len(row_T), len(items_ND))
    for place in np.flatnonzero(known_T):
        ranks_T[place] = np.count_nonzero(scores_UN[row_T[place]] >= score_T[place]) - 1
    return Ranked(ranks_T, top_items(scores_UN[shown_S], k))


def top_items(scores_UN: np.ndarray, k: int) -> np.ndarray:
    """The k best item rows of each user, best first, ties by row; -1 where fewer are left."""
    k = min(k, scores_UN.shape[1])
    best_UK = np.argpartition(-scores_UN, k - 1, axis=1)[:, :k]
    best_UK.sort(axis=1)
    score_UK = np.take_along_axis(scores_UN, best_UK, 1)
    order_UK = np.argsort(-score_UK, axis=1, kind="stable")
    top_UK = np.take_along_axis(best_UK, order_UK, 1)
    return np.where(np.isfinite(np.take_along_axis(score_UK, order_UK, 1)), top_UK, -1)
