"""The encoded catalogue, read from the data files of one pinned version of item_features."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch

from divspa.arrow import matrix
from divspa.storage import locate

COLUMNS = ["item_index", "item_features", "popularity", "train_clicks"]


@dataclass(frozen=True)
class Items:
    """By item index: encoded fields [V, F], training clicks by their weights [V] and each counted once [V].

    Padding and unknown have none, nor an index that no item has (`listed_V` is false there).
    """

    features_VF: torch.Tensor
    popularity_V: torch.Tensor
    clicks_V: torch.Tensor
    listed_V: torch.Tensor


def read_items(files: list[str], items: int) -> Items:
    """Read the catalogue of `items` indices: 4 bytes an item and field place."""
    parts = []
    for url in files:
        system, path = locate(url)
        with system.open_input_file(path) as opened:
            file = pq.ParquetFile(opened)
            parts.append(file.read([name for name in COLUMNS if name in file.schema_arrow.names]))
    features_VF: np.ndarray | None = None
    popularity_V, clicks_V = np.zeros(items, np.int64), np.zeros(items, np.int64)
    listed_V = np.zeros(items, bool)
    for rows in parts:
        for batch in rows.to_batches():
            index, features = batch.column("item_index").to_numpy(), matrix(batch.column("item_features"))
            if features_VF is None:
                features_VF = np.zeros((items, features.shape[1]), np.int32)
            features_VF[index] = features
            listed_V[index] = True
            popularity_V[index] = batch.column("popularity").to_numpy()
            clicks_V[index] = _train_clicks(batch).to_numpy(zero_copy_only=False)
    if features_VF is None:
        features_VF = np.zeros((items, 0), np.int32)
    return Items(*map(torch.from_numpy, (features_VF, popularity_V, clicks_V, listed_V)))


def _train_clicks(batch: pa.RecordBatch) -> pa.Array:
    """A lake made before clicks could count differently does not hold them: there they are the popularity."""
    if "train_clicks" not in batch.schema.names:
        return batch.column("popularity")
    return pc.coalesce(batch.column("train_clicks"), batch.column("popularity"))  # pyright: ignore[reportAttributeAccessIssue]
