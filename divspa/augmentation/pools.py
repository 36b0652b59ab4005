"""Items of each user laid end to end: whose they are, how the model scores them, and which are the best."""

import numpy as np
from numpy.typing import NDArray

from divspa.lists import Lists, offsets_of

TABLE_BITS = 20


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


def pooled(
    items: Lists, user_R: NDArray[np.int64], users: int, size: int, scores: Lists | None = None
) -> tuple[Lists, NDArray[np.float32]]:
    """R lists of items as one pool a user, every item once and ascending, and the best score that each was given.

    `user_R` says whose list it is. NaN stands for no score, as it does for all items where no `scores` are given.
    """
    keys_M = np.repeat(user_R, items.lengths) * size + items.values_M
    if scores is None:
        keys_P = np.unique(keys_M)
        scores_P = np.full(len(keys_P), np.nan, np.float32)
    else:
        order_M = np.argsort(keys_M)
        first_M = np.diff(keys_M[order_M], prepend=-1) > 0
        if not first_M.all():
            order_M = np.lexsort((-scores.values_M, keys_M))  # an item's best score first, NaN last
        keys_P, scores_P = keys_M[order_M][first_M], scores.values_M[order_M][first_M]
    offsets = offsets_of(np.bincount(keys_P // size, minlength=users))
    return Lists(offsets, (keys_P % size).astype(np.int32)), scores_P


def best_of_pools(pools: Lists, scores_P: NDArray[np.float32], k: int) -> tuple[Lists, Lists]:
    """The k items of each pool (ascending) with the highest scores, and these; ties by item."""
    order_P = np.lexsort((-scores_P, pools.owners))
    place_P = np.arange(len(order_P)) - np.repeat(pools.offsets_N1[:-1], pools.lengths)
    best, offsets = order_P[place_P < k], offsets_of(np.minimum(pools.lengths, k))
    return Lists(offsets, pools.values_M[best]), Lists(offsets, scores_P[best])


def outranking(items: Lists, scores_P: NDArray[np.float32], found: Lists, k: int) -> NDArray[np.int64]:
    """How many of each list's items score above the last of k found ones; all of them where fewer than k were found.

    `found` holds the scores of what was found, best first.
    """
    full_U = found.lengths >= k
    last_U = np.full(len(found), -np.inf, np.float32)
    last_U[full_U] = found.values_M[found.offsets_N1[1:][full_U] - 1]
    return np.bincount(items.owners[scores_P > last_U[items.owners]], minlength=len(items))


def dots(users_UD: NDArray[np.float32], items: Lists, vectors_VD: NDArray[np.float32]) -> NDArray[np.float32]:
    """s(u, v) of each user and each item in the user's list, by pieces that stay small."""
    owners_P, piece = items.owners, 2**16
    scores_P = np.empty(len(owners_P), np.float32)
    for start in range(0, len(owners_P), piece):
        part = slice(start, start + piece)
        scores_P[part] = np.einsum("pd,pd->p", users_UD[owners_P[part]], vectors_VD[items.values_M[part]])
    return scores_P
