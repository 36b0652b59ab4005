"""Recommenders of RecTools and implicit; run by the Python of their own environment, prints seconds.

Usage: python outside.py NAME FOLDER K SEED. Reads had.parquet (user_key, clicked) and asked.parquet (user_key) in the
folder, and writes lists.npy: the K best new item indices of every asked user, ascending by user_key, padded with 0.
"""

# pyright: basic, reportMissingImports=false, reportAttributeAccessIssue=false, reportArgumentType=false, reportCallIssue=false
import sys
import time

import numpy as np
import pandas as pd
from implicit.als import AlternatingLeastSquares
from implicit.bpr import BayesianPersonalizedRanking
from implicit.nearest_neighbours import CosineRecommender
from rectools import Columns
from rectools.dataset import Dataset
from rectools.models import (
    EASEModel,
    ImplicitALSWrapperModel,
    ImplicitBPRWrapperModel,
    ImplicitItemKNNWrapperModel,
    PureSVDModel,
)

# EASE inverts a matrix of items by items; beyond so many it sees the most clicked ones only.
EASE_ITEMS = 10_000


def build(name: str, seed: int):
    """The package's own settings, but for sizes that suit logs of some thousand users."""
    if name == "ease":
        return EASEModel(regularization=500.0)
    if name == "item_knn":
        return ImplicitItemKNNWrapperModel(CosineRecommender(K=100))
    if name == "als":
        return ImplicitALSWrapperModel(
            AlternatingLeastSquares(factors=64, regularization=0.05, iterations=15, random_state=seed)
        )
    if name == "bpr":
        return ImplicitBPRWrapperModel(
            BayesianPersonalizedRanking(factors=64, iterations=100, random_state=seed, verify_negative_samples=True)
        )
    return PureSVDModel(factors=64, random_state=seed)


def main(name: str, folder: str, k: int, seed: int) -> float:
    """Seconds of training and ranking."""
    started = time.perf_counter()
    had = pd.read_parquet(f"{folder}/had.parquet").explode("clicked").dropna()
    had = had.rename(columns={"user_key": Columns.User, "clicked": Columns.Item}).astype(np.int64)
    if name == "ease":
        kept = had[Columns.Item].value_counts().index[:EASE_ITEMS]
        had = had[had[Columns.Item].isin(kept)]
    had[Columns.Weight], had[Columns.Datetime] = 1.0, pd.Timestamp("2000-01-01")
    dataset = Dataset.construct(had)
    model = build(name, seed).fit(dataset)
    users = np.sort(pd.read_parquet(f"{folder}/asked.parquet", columns=["user_key"])["user_key"].unique())
    known = users[np.isin(users, had[Columns.User].unique())]
    found = model.recommend(known, dataset, k=k, filter_viewed=True)
    lists_UK = np.zeros((len(users), k), np.int32)
    row = np.searchsorted(users, found[Columns.User].to_numpy())
    lists_UK[row, found[Columns.Rank].to_numpy() - 1] = found[Columns.Item].to_numpy()
    popular = had[Columns.Item].value_counts().index[:k].to_numpy()
    lists_UK[~np.isin(users, known), : len(popular)] = popular
    np.save(f"{folder}/lists.npy", lists_UK)
    return time.perf_counter() - started


if __name__ == "__main__":
    print(main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:])))
