"""What a way that starts from an item offers a pair: near the clicked item, and not clicked by the user."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from divspa.augmentation.catalogue import Catalogue, Neighbours
from divspa.augmentation.pools import among
from divspa.lists import Lists, offsets_of


@dataclass(frozen=True)
class Offer:
    """What one way offers N pairs: k candidates each, best first, with their scores; item 0 pads.

    `dropped_N` counts the clicked items that were passed over, `completed` the pairs that needed a search of their own.
    """

    ids_NK: NDArray[np.int32]
    scores_NK: NDArray[np.float32]
    dropped_N: NDArray[np.int64]
    completed: int = 0


def nearest_new(
    found: Neighbours,
    items_N: NDArray[np.integer],
    clicked: Lists,
    user_N: NDArray[np.int64],
    catalogue: Catalogue,
    k: int,
) -> Offer:
    """Pass over what the pair's user clicked; where the kept neighbours run out, complete them if the way can.

    `clicked` holds each user's items, ascending, and `user_N` says whose pair it is: a user with a thousand pairs has a
    thousand clicks, too many to repeat for every pair.
    """
    ids_NW, scores_NW = found.ids_VW[items_N], found.scores_VW[items_N]
    is_clicked_NW = among(ids_NW, user_N[:, None], clicked, catalogue.size)
    new_NW = (ids_NW > 0) & ~is_clicked_NW
    rank_NW = np.cumsum(new_NW, axis=1) - 1
    offsets = offsets_of(new_NW.sum(axis=1))
    ids_NK, scores_NK = (Lists(offsets, values[new_NW]).padded(0, k) for values in (ids_NW, scores_NW))
    short_N = (ids_NK[:, -1] == 0) & (ids_NW[:, -1] > 0) & (found.complete is not None)
    if found.complete is not None and short_N.any():
        rows = np.flatnonzero(short_N)
        ids, scores = found.complete(catalogue, items_N[rows], clicked.take(user_N[rows]), k)
        ids_NK[rows], scores_NK[rows] = ids.padded(0, k), scores.padded(0, k)
    return Offer(ids_NK, scores_NK, (is_clicked_NW & (rank_NW < k - 1)).sum(axis=1), int(short_N.sum()))
