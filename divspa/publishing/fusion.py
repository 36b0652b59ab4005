"""Reciprocal rank fusion (Cormack et al. 2009): two lists as one, whatever the scale of their scores."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from divspa.lists import Lists, offsets_of

# An item at place r of a list, from 0, gains its weight / (FIRST + r): small enough to tell the first places apart.
FIRST = 61
# The first part counts a little more: of two items that have changed places in the other list, its favourite is ahead.
# With equal weights every such pair would be a tie.
LEAD = 1.001


def top_items(scores_UN: np.ndarray, k: int) -> np.ndarray:
    """The k best item rows of each user, best first, ties by row; -1 where fewer are left."""
    k = min(k, scores_UN.shape[1])
    best_UK = torch.topk(torch.from_numpy(scores_UN), k, dim=1, sorted=False).indices.numpy()
    best_UK.sort(axis=1)
    score_UK = np.take_along_axis(scores_UN, best_UK, 1)
    order_UK = np.argsort(-score_UK, axis=1, kind="stable")
    top_UK = np.take_along_axis(best_UK, order_UK, 1)
    return np.where(np.isfinite(np.take_along_axis(score_UK, order_UK, 1)), top_UK, -1)


def reciprocal_ranks(top_UK: np.ndarray, items: int) -> np.ndarray:
    """1 / (FIRST + place) of each user's best items, which -1 pads, and 0 for the rest of so many [U, N]."""
    user_M, place_M = np.nonzero(top_UK >= 0)
    gains_UN = np.zeros((len(top_UK), items), np.float32)
    gains_UN[user_M, top_UK[user_M, place_M]] = 1 / (FIRST + place_M)
    return gains_UN


def fuse(gains_PUN: Sequence[np.ndarray], weights: Sequence[float], first_UN: np.ndarray) -> np.ndarray:
    """Scores of what P parts make together [U, N]: by their `reciprocal_ranks`, above 0; what is in no list follows in
    the order of the first part's scores `first_UN`, finite throughout.
    """
    weighed = zip(gains_PUN, _with_lead(weights), strict=True)
    fused_UN = sum(np.float32(weight) * gains_UN for gains_UN, weight in weighed)
    listed_UN = np.isfinite(first_UN)
    low_U1 = np.where(listed_UN, first_UN, np.inf).min(axis=1, keepdims=True)
    rest_UN = np.where(listed_UN, first_UN, low_U1)
    rest_UN -= rest_UN.max(axis=1, keepdims=True)
    rest_UN /= np.maximum(-rest_UN.min(axis=1, keepdims=True), np.float32(1e-30))
    return np.where(fused_UN > 0, fused_UN, rest_UN - 1)


def fused_ranks(
    tops: tuple[np.ndarray, np.ndarray],
    gains: tuple[np.ndarray, np.ndarray],
    weights: Sequence[float],
    first_UN: np.ndarray,
    own_U: NDArray[np.integer],
) -> NDArray[np.int64]:
    """The rank of one item of each user, from 0, among what `fuse` makes of two parts' best items and their
    `reciprocal_ranks`; ties count against it [U]. It looks at these items alone, where `fuse` fills an array.
    """
    rows_U1 = np.arange(len(own_U))[:, None]
    both_UM = np.concatenate([tops[0], np.where(gains[0][rows_U1, tops[1]] > 0, -1, tops[1])], axis=1)
    listed_UM = both_UM >= 0
    first, second = (np.float32(weight) for weight in _with_lead(weights))

    def fused(items_UM: np.ndarray) -> np.ndarray:
        return first * gains[0][rows_U1, items_UM] + second * gains[1][rows_U1, items_UM]

    own_U1 = fused(own_U[:, None])
    ranks_U = (listed_UM & (fused(both_UM) >= own_U1)).sum(axis=1) - 1
    # What is in neither list follows all that is in one, in the order of the first part.
    for user in np.flatnonzero(own_U1[:, 0] == 0):
        listed_M, first_N = both_UM[user, listed_UM[user]], first_UN[user]
        own = first_N[own_U[user]]
        ranks_U[user] = len(listed_M) + (first_N >= own).sum() - (first_N[listed_M] >= own).sum() - 1
    return ranks_U


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
    gain_M = np.asarray(_with_lead(weights))[part_M] / (FIRST + place_M)
    score_D = np.bincount(of_M, gain_M, len(pair_D)).astype(np.float32)
    sources_D = np.bincount(of_M, 1 << part_M, len(pair_D)).astype(np.int64)
    owner_D, item_D = pair_D >> 32, pair_D & 0xFFFFFFFF
    order_D = np.lexsort((item_D, -score_D, owner_D))
    every = Lists(offsets_of(np.bincount(owner_D, minlength=len(lists[0]))), order_D)
    best = every.take(np.arange(len(every)), np.full(len(every), k))
    chosen = best.values_M
    return Lists(best.offsets_N1, item_D[chosen].astype(np.int32)), score_D[chosen], sources_D[chosen]


def _with_lead(weights: Sequence[float]) -> tuple[float, ...]:
    return (LEAD * weights[0], *weights[1:])
