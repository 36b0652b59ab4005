"""The encoded catalogue, read from the data files of one pinned version of item_features."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch

from divspa.arrow import matrix
from divspa.storage import locate
from schemas.vocabulary import FIRST_INDEX

COLUMNS = ["item_index", "item_features", "popularity", "train_clicks"]


@dataclass(frozen=True)
class Items:
    """By item index: encoded fields [V, F], training clicks by their weights [V] and each counted once [V].

    Padding and unknown have none.
    """

    features_VF: torch.Tensor
    popularity_V: torch.Tensor
    clicks_V: torch.Tensor

    def cold(self) -> torch.Tensor | None:
        """Which items have no training clicks [V]; None where every item of the catalogue has some."""
        cold_V = self.clicks_V == 0
        cold_V[:FIRST_INDEX] = False
        return cold_V if cold_V.any() else None


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
    for rows in parts:
        for batch in rows.to_batches():
            index, features = batch.column("item_index").to_numpy(), matrix(batch.column("item_features"))
            if features_VF is None:
                features_VF = np.zeros((items, features.shape[1]), np.int32)
            features_VF[index] = features
            popularity_V[index] = batch.column("popularity").to_numpy()
            clicks_V[index] = _train_clicks(batch).to_numpy(zero_copy_only=False)
    if features_VF is None:
        features_VF = np.zeros((items, 0), np.int32)
    return Items(*map(torch.from_numpy, (features_VF, popularity_V, clicks_V)))


def _train_clicks(batch: pa.RecordBatch) -> pa.Array:
    """A lake made before clicks could count differently does not hold them: there they are the popularity."""
    if "train_clicks" not in batch.schema.names:
        return batch.column("popularity")
    return pc.coalesce(batch.column("train_clicks"), batch.column("popularity"))  # pyright: ignore[reportAttributeAccessIssue]
