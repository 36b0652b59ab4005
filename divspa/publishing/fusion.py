"""Reciprocal rank fusion (Cormack et al. 2009): two lists as one, whatever the scale of their scores."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from divspa.lists import Lists, offsets_of

# An item at place r of a list, from 0, gains its weight / (FIRST + r): small enough to tell the first places apart.
FIRST = 61


def top_items(scores_UN: np.ndarray, k: int) -> np.ndarray:
    """The k best item rows of each user, best first, ties by row; -1 where fewer are left."""
    k = min(k, scores_UN.shape[1])
    best_UK = np.argpartition(-scores_UN, k - 1, axis=1)[:, :k]
    best_UK.sort(axis=1)
    score_UK = np.take_along_axis(scores_UN, best_UK, 1)
    order_UK = np.argsort(-score_UK, axis=1, kind="stable")
    top_UK = np.take_along_axis(best_UK, order_UK, 1)
    return np.where(np.isfinite(np.take_along_axis(score_UK, order_UK, 1)), top_UK, -1)


def reciprocal_ranks(scores_UN: np.ndarray, depth: int) -> np.ndarray:
    """1 / (FIRST + place) of each user's best `depth` items, which scores of -inf never are, and 0 elsewhere [U, N]."""
    top_UK = top_items(scores_UN, depth)
    user_M, place_M = np.nonzero(top_UK >= 0)
    gains_UN = np.zeros(scores_UN.shape, np.float32)
    gains_UN[user_M, top_UK[user_M, place_M]] = 1 / (FIRST + place_M)
    return gains_UN


def fuse(gains_PUN: Sequence[np.ndarray], weights: Sequence[float], first_UN: np.ndarray) -> np.ndarray:
    """Scores of what P parts make together [U, N]: by their `reciprocal_ranks`, above 0; what is in no list follows in
    the order of the first part's scores `first_UN`, finite throughout.
    """
    fused_UN = sum(np.float32(weight) * gains_UN for gains_UN, weight in zip(gains_PUN, weights, strict=True))
    listed_UN = np.isfinite(first_UN)
    low_U1 = np.where(listed_UN, first_UN, np.inf).min(axis=1, keepdims=True)
    rest_UN = np.where(listed_UN, first_UN, low_U1)
    rest_UN -= rest_UN.max(axis=1, keepdims=True)
    rest_UN /= np.maximum(-rest_UN.min(axis=1, keepdims=True), np.float32(1e-30))
    return np.where(fused_UN > 0, fused_UN, rest_UN - 1)


def fuse_lists(
    lists: Sequence[Lists], weights: Sequence[float], k: int
) -> tuple[Lists, NDArray[np.float32], NDArray[np.int64]]:
    """The best k of N users' lists of P parts, best first, ties by item; their scores, and the parts they are in, as
    bits, the first part's the lowest.
    """
    owner_M, items_M = (np.concatenate([getattr(each, name) for each in lists]) for name in ("owners", "values_M"))
    part_M = np.repeat(np.arange(len(lists)), [len(each.values_M) for each in lists])
    place_M = np.concatenate([np.arange(len(each.values_M)) - each.offsets_N1[each.owners] for each in lists])
    pair_M = owner_M.astype(np.int64) << 32 | items_M
    pair_D, of_M = np.unique(pair_M, return_inverse=True)
    score_D = np.bincount(of_M, np.asarray(weights)[part_M] / (FIRST + place_M), len(pair_D)).astype(np.float32)
    sources_D = np.bincount(of_M, 1 << part_M, len(pair_D)).astype(np.int64)
    owner_D, item_D = pair_D >> 32, pair_D & 0xFFFFFFFF
    order_D = np.lexsort((item_D, -score_D, owner_D))
    every = Lists(offsets_of(np.bincount(owner_D, minlength=len(lists[0]))), order_D)
    best = every.take(np.arange(len(every)), np.full(len(every), k))
    chosen = best.values_M
    return Lists(best.offsets_N1, item_D[chosen].astype(np.int32)), score_D[chosen], sources_D[chosen]
