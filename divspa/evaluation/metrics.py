"""Accuracy from ranks, diversity from exposure; no Spark here."""

import numpy as np


def accuracy(ranks_T: np.ndarray, users_T: np.ndarray, ks: tuple[int, ...]) -> dict[str, float]:
    """hr, ndcg and mrr at k over test events, and recall at k as the mean over users of their hit share.

    `ranks_T` counts from 0; with one relevant item an event, ndcg is 1 / log2(rank + 2).
    """
    _, user_T = np.unique(users_T, return_inverse=True)
    events_U = np.bincount(user_T)
    figures = {}
    for k in ks:
        hit_T = ranks_T < k
        figures[f"hr@{k}"] = float(hit_T.mean())
        figures[f"ndcg@{k}"] = float(np.where(hit_T, 1 / np.log2(ranks_T + 2.0), 0).mean())
        figures[f"mrr@{k}"] = float(np.where(hit_T, 1 / (ranks_T + 1.0), 0).mean())
        figures[f"recall@{k}"] = float((np.bincount(user_T, weights=hit_T) / events_U).mean())
    return figures


def diversity(exposure_N: np.ndarray, k: int) -> dict[str, float]:
    """distinct, coverage and gini at k, from how often each of the N catalogue items stands in a top-k list.

    Gini is 0 when all items are shown alike and nears 1 when one item takes every place.
    """
    shown = int((exposure_N > 0).sum())
    ordered_N = np.sort(exposure_N.astype(np.float64))
    n, total = len(ordered_N), ordered_N.sum()
    gini = float(2 * (np.arange(1, n + 1) * ordered_N).sum() / (n * total) - (n + 1) / n) if total else 0.0
    return {f"distinct@{k}": float(shown), f"coverage@{k}": shown / n, f"gini@{k}": gini}
