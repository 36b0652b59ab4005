"""Recommenders of RecTools and implicit; run by the Python of their own environment, prints seconds.

Usage: python outside.py NAME FOLDER K SEED. Reads had.parquet (user_key, clicked: each item once, history: the last
clicks, oldest first) and asked.parquet (user_key) in the folder, and writes lists.npy: the K best new item indices of
every asked user, ascending by user_key, padded with 0.
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
    if name == "sasrec":
        return sasrec(seed)
    return PureSVDModel(factors=64, random_state=seed)


def sasrec(seed: int):
    """The transformer of Kang and McAuley with the loss and negatives of gSASRec, in a size that two cores train."""
    from pytorch_lightning import seed_everything
    from rectools.models import SASRecModel

    seed_everything(seed)
    return SASRecModel(
        n_factors=64,
        n_heads=2,
        session_max_len=100,
        loss="gBCE",
        gbce_t=0.75,
        n_negatives=64,
        batch_size=64,
        epochs=20,
        deterministic=True,
    )


def interactions(folder: str, in_order: bool) -> pd.DataFrame:
    """A row a user and item, dated in the order of the last clicks where that is asked for."""
    had = pd.read_parquet(f"{folder}/had.parquet")
    rows = had[["user_key", "clicked"]].explode("clicked").dropna().rename(columns={"clicked": Columns.Item})
    rows = rows.assign(place=0)
    if in_order:
        past = had[["user_key", "history"]].explode("history").rename(columns={"history": Columns.Item})
        past = past.assign(place=1 + past.groupby("user_key").cumcount())
        rows = pd.concat([rows, past[past[Columns.Item] > 0]])
        rows = rows.groupby(["user_key", Columns.Item], as_index=False)["place"].max()
    rows = rows.astype(np.int64)
    dated = pd.Timestamp("2000-01-01") + pd.to_timedelta(rows["place"], unit="s")
    rows = rows.drop(columns="place").rename(columns={"user_key": Columns.User})
    return rows.assign(**{Columns.Datetime: dated, Columns.Weight: 1.0})


def main(name: str, folder: str, k: int, seed: int) -> float:
    """Seconds of training and ranking."""
    started = time.perf_counter()
    had = interactions(folder, in_order=name == "sasrec")
    if name == "ease":
        kept = had[Columns.Item].value_counts().index[:EASE_ITEMS]
        had = had[had[Columns.Item].isin(kept)]
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
