"""Accuracy from ranks, diversity from exposure; no Spark here."""

from typing import Any

import numpy as np
from scipy import sparse

from divspa.errors import TrainingError
from divspa.gains import gains


def all_finite(figures: dict[Any, float]) -> dict[Any, float]:
    """The same figures. Raises TrainingError, naming them, where one is NaN or infinite."""
    broken = [str(name) for name, value in figures.items() if not np.isfinite(value)]
    if broken:
        raise TrainingError("A metric is not finite", found=", ".join(broken), remedy="report this fault")
    return figures


def accuracy(ranks_T: np.ndarray, users_T: np.ndarray, ks: tuple[int, ...]) -> dict[str, float]:
    """hr, ndcg and mrr at k over test events, and recall at k as the mean over users of their hit share.

    `ranks_T` counts from 0; with one relevant item an event, ndcg is 1 / log2(rank + 2). Raises TrainingError for ranks
    that are not finite.
    """
    if not np.isfinite(ranks_T).all():
        raise TrainingError("A rank is not finite", remedy="look at the scores that it was made of")
    _, user_T = np.unique(users_T, return_inverse=True)
    events_U = np.bincount(user_T)
    figures = {}
    for k in ks:
        hit_T = ranks_T < k
        figures |= {name: float(gains(ranks_T, name).mean()) for name in (f"hr@{k}", f"ndcg@{k}", f"mrr@{k}")}
        figures[f"recall@{k}"] = float((np.bincount(user_T, weights=hit_T) / events_U).mean())
    return figures


def slices(popularity_T: np.ndarray, train_items_T: np.ndarray, popularity_N: np.ndarray) -> dict[str, np.ndarray]:
    """Which test events belong to which part; `all` is all.

    Items: `cold` were never clicked in training; `head` are the most popular that hold a third of the training clicks,
    `torso` those that hold the next third, `tail` the others. Users: `few`, `some` and `many` are thirds of the test
    events by how many items the user had.
    """
    parts = {"all": np.ones(len(popularity_T), bool), "cold": popularity_T == 0}
    ordered_N = np.sort(popularity_N)[::-1]
    clicks_N = np.cumsum(ordered_N)
    head, torso = (ordered_N[np.searchsorted(clicks_N, clicks_N[-1] * share)] for share in (1 / 3, 2 / 3))
    parts["head"] = popularity_T >= head
    parts["torso"] = (popularity_T >= torso) & ~parts["head"]
    parts["tail"] = (popularity_T > 0) & (popularity_T < torso) & ~parts["head"]
    low, high = np.quantile(train_items_T, [1 / 3, 2 / 3], method="lower")
    parts["few"] = train_items_T <= low
    parts["many"] = (train_items_T > high) & ~parts["few"]
    parts["some"] = ~parts["few"] & ~parts["many"]
    return parts


def diversity(exposure_N: np.ndarray, popularity_N: np.ndarray, k: int) -> dict[str, float]:
    """distinct, coverage, gini, entropy and novelty at k, from how often each catalogue item stands in a top-k list.

    Gini is 0 when all items are shown alike and nears 1 when one item takes every place. Entropy, in bits, is that of
    the places over the items; novelty the mean of -log2 of the share that a shown item has of the training clicks.
    """
    shown = int((exposure_N > 0).sum())
    ordered_N = np.sort(exposure_N.astype(np.float64))
    n, total = len(ordered_N), ordered_N.sum()
    gini = float(2 * (np.arange(1, n + 1) * ordered_N).sum() / (n * total) - (n + 1) / n) if total else 0.0
    share_N = exposure_N / total if total else np.zeros(n)
    surprise_N = -np.log2(np.maximum(popularity_N, 1) / max(popularity_N.sum(), 1))
    entropy = float(-(share_N[share_N > 0] * np.log2(share_N[share_N > 0])).sum())
    return {
        f"distinct@{k}": float(shown),
        f"coverage@{k}": shown / n,
        f"gini@{k}": gini,
        f"entropy@{k}": entropy,
        f"novelty@{k}": float((share_N * surprise_N).sum()),
    }


def exposure(lists_SK: np.ndarray, k: int, items: int) -> np.ndarray:
    """How often each of N items, by row, stands in the first k places of S lists, which -1 pads [N]."""
    shown = lists_SK[:, :k].ravel()
    return np.bincount(shown[shown >= 0], minlength=items)


def unit_values(codes_NW: np.ndarray) -> sparse.csr_array:
    """The values of one field of N items, coded and padded with 0, as rows of length 1 in a space of the values."""
    row, place = np.nonzero(codes_NW)
    weight = 1 / np.sqrt(np.count_nonzero(codes_NW, axis=1))[row]
    shape = len(codes_NW), int(codes_NW.max(initial=0)) + 1
    return sparse.csr_array((weight, (row, codes_NW[row, place])), shape=shape)


def intra_list_distance(lists_SK: np.ndarray, k: int, values_NC: sparse.csr_array) -> float:
    """The mean over S lists of how far two of their first k items are apart in one field: 1 less the cosine.

    For a field of one value that is the share of pairs that differ. Lists of fewer than two items do not count.
    """
    listed = lists_SK[:, :k]
    lengths_S = (listed >= 0).sum(axis=1)
    holds = sparse.csr_array(
        (np.ones(lengths_S.sum()), listed[listed >= 0], np.r_[0, np.cumsum(lengths_S)]),
        shape=(len(listed), len(values_NC.indptr) - 1),
    )
    alike_S = _squares(holds @ values_NC) - holds @ _squares(values_NC)
    pairs_S = lengths_S * (lengths_S - 1)
    useful = pairs_S > 0
    return float(np.mean(1 - alike_S[useful] / pairs_S[useful])) if useful.any() else 0.0


def _squares(rows: Any) -> np.ndarray:
    """The squared length of each row of a sparse array."""
    return np.asarray(rows.power(2).sum(axis=1)).ravel()
