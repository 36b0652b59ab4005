"""What every task knows of the items, and the items of i2i: near a clicked item and not clicked by the user."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from divspa.lists import Lists, offsets_of
from divspa.retrieval.kernel import Shard, build_shard, search

TABLE_BITS = 20


@dataclass(frozen=True)
class Catalogue:
    """V items by index, of which `addable_A` (ascending) may be added as positives; item 0 is padding.

    `popularity_V` has the training clicks, and `discount` is the power of them that a chance to be drawn is divided by.
    `nearest_VW` holds the addable items nearest to each item, best first, with their scores: more than a way's top k,
    because a user's clicked items are passed over.
    """

    item_ids: pa.StringArray
    vectors_VD: NDArray[np.float32]
    addable_A: NDArray[np.int64]
    popularity_V: NDArray[np.int64]
    discount: float
    nearest_VW: NDArray[np.int32]
    scores_VW: NDArray[np.float32]

    @property
    def size(self) -> int:
        return len(self.vectors_VD)

    @cached_property
    def is_addable(self) -> NDArray[np.bool_]:
        """Which of the V items may be added (V,)."""
        return np.bincount(self.addable_A, minlength=self.size) > 0

    @cached_property
    def rarity(self) -> NDArray[np.float64]:
        """1 / clicks^discount of the V items (V,); one that nobody clicked counts as clicked once."""
        return np.maximum(self.popularity_V, 1.0) ** -self.discount

    @cached_property
    def has_directions(self) -> bool:
        """Whether the vectors have unit length, as those of every cosine model."""
        lengths_V = np.linalg.norm(self.vectors_VD, axis=1)
        return bool(np.allclose(lengths_V[lengths_V > 0], 1, atol=1e-3))

    @cached_property
    def directions(self) -> NDArray[np.float32]:
        """The vectors at unit length, by which items are near each other."""
        if self.has_directions:
            return self.vectors_VD
        lengths_V1 = np.linalg.norm(self.vectors_VD, axis=1, keepdims=True)
        return self.vectors_VD / np.maximum(lengths_V1, np.finfo(np.float32).tiny)

    @cached_property
    def shard(self) -> Shard:
        return build_shard(self.addable_A, self.directions[self.addable_A])


@dataclass(frozen=True)
class Near:
    """For N pairs the k items nearest to the clicked one that the user has not clicked; 0 pads.

    `dropped_N` counts the clicked items that were passed over, `completed_N` marks pairs that needed a search of their
    own.
    """

    ids_NK: NDArray[np.int32]
    scores_NK: NDArray[np.float32]
    dropped_N: NDArray[np.int64]
    completed_N: NDArray[np.bool_]


def nearest_new(
    catalogue: Catalogue, items_N: NDArray[np.integer], clicked: Lists, user_N: NDArray[np.int64], k: int
) -> Near:
    """Pass over what the pair's user clicked; where the kept neighbours run out, search all items.

    `clicked` holds each user's items, ascending, and `user_N` says whose pair it is: a user with a thousand pairs has a
    thousand clicks, too many to repeat for every pair.
    """
    ids_NW, scores_NW = catalogue.nearest_VW[items_N], catalogue.scores_VW[items_N]
    is_clicked_NW = among(ids_NW, user_N[:, None], clicked, catalogue.size)
    new_NW = (ids_NW > 0) & ~is_clicked_NW
    rank_NW = np.cumsum(new_NW, axis=1) - 1
    offsets = offsets_of(new_NW.sum(axis=1))
    ids_NK, scores_NK = (Lists(offsets, values[new_NW]).padded(0, k) for values in (ids_NW, scores_NW))
    short_N = (ids_NK[:, -1] == 0) & (ids_NW[:, -1] > 0)
    if short_N.any():
        rows = np.flatnonzero(short_N)
        exclude = clicked.take(user_N[rows]).append(items_N[rows])
        found = search(catalogue.shard, catalogue.directions[items_N[rows]], k, exclude)
        ids_NK[rows] = Lists(found.offsets_N1, found.ids_M).padded(0, k)
        scores_NK[rows] = Lists(found.offsets_N1, found.scores_M).padded(0, k)
    return Near(ids_NK, scores_NK, (is_clicked_NW & (rank_NW < k - 1)).sum(axis=1), short_N)


def among(ids: NDArray[np.integer], owners: NDArray[np.int64], known: Lists, size: int) -> NDArray[np.bool_]:
    """Which ids (of any shape, below `size`) are in the list of `known` that their owner names.

    The lists are ascending, and `owners` has the shape of the ids or one that is broadcast to it.
    """
    known_M = known.owners * size + known.values_M
    asked = owners * size + ids
    # Few are: a table of one bit of hash answers most, and the sorted list is asked about the rest.
    seen_B = np.zeros(2**TABLE_BITS, bool)
    seen_B[_bucket(known_M)] = True
    is_known = seen_B[_bucket(asked)]
    if is_known.any():
        asked_Q = asked[is_known]
        place_Q = np.minimum(np.searchsorted(known_M, asked_Q), len(known_M) - 1)
        is_known[is_known] = known_M[place_Q] == asked_Q
    return is_known


def _bucket(keys: NDArray[np.int64]) -> NDArray[np.int64]:
    hashed = keys.view(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    return (hashed >> np.uint64(64 - TABLE_BITS)).astype(np.int64)


def best_of_pools(
    users_UD: NDArray[np.float32], pools: Lists, vectors_VD: NDArray[np.float32], k: int
) -> tuple[Lists, Lists]:
    """The k items of each pool (ascending) that the user's vector scores highest, and their scores; ties by item."""
    scores_P = dots(users_UD, pools, vectors_VD)
    order_P = np.lexsort((-scores_P, pools.owners))
    place_P = np.arange(len(order_P)) - np.repeat(pools.offsets_N1[:-1], pools.lengths)
    best, offsets = order_P[place_P < k], offsets_of(np.minimum(pools.lengths, k))
    return Lists(offsets, pools.values_M[best]), Lists(offsets, scores_P[best])


def dots(users_UD: NDArray[np.float32], items: Lists, vectors_VD: NDArray[np.float32]) -> NDArray[np.float32]:
    """s(u, v) of each user and each item in the user's list, by pieces that stay small."""
    owners_P, piece = items.owners, 2**16
    scores_P = np.empty(len(owners_P), np.float32)
    for start in range(0, len(owners_P), piece):
        part = slice(start, start + piece)
        scores_P[part] = np.einsum("pd,pd->p", users_UD[owners_P[part]], vectors_VD[items.values_M[part]])
    return scores_P
