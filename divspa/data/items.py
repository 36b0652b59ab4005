"""The encoded catalogue, read from the data files of one pinned version of item_features."""

from dataclasses import dataclass

import numpy as np
import pyarrow.parquet as pq
import torch

from divspa.arrow import matrix
from divspa.storage import locate


@dataclass(frozen=True)
class Items:
    """By item index: encoded fields [V, F] and training clicks [V]; padding and unknown have neither."""

    features_VF: torch.Tensor
    popularity_V: torch.Tensor


def read_items(files: list[str], items: int) -> Items:
    """Read the catalogue of `items` indices: 4 bytes an item and field place."""
    parts = []
    for url in files:
        system, path = locate(url)
        parts.append(pq.read_table(path, filesystem=system, columns=["item_index", "item_features", "popularity"]))
    features_VF: np.ndarray | None = None
    popularity_V = np.zeros(items, np.int64)
    for rows in parts:
        for batch in rows.to_batches():
            index, features = batch.column("item_index").to_numpy(), matrix(batch.column("item_features"))
            if features_VF is None:
                features_VF = np.zeros((items, features.shape[1]), np.int32)
            features_VF[index] = features
            popularity_V[index] = batch.column("popularity").to_numpy()
    empty = np.zeros((items, 0), np.int32)
    return Items(torch.from_numpy(empty if features_VF is None else features_VF), torch.from_numpy(popularity_V))
