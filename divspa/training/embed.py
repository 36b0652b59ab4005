"""The towers' outputs for every user and item, computed by Spark's workers."""

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
import torch
from pyspark.sql import DataFrame
from pyspark.sql import types as T

from divspa.arrow import list_column, matrix
from divspa.models.checkpoint import Checkpoint

VECTOR = T.StructField("vector", T.ArrayType(T.FloatType()))


def embed_users(users: DataFrame, checkpoint: Checkpoint) -> DataFrame:
    """Add `vector` to rows of user_features. One row a user and moment; the encoded fields are dropped."""
    return _embed(users, checkpoint, ["user_features", "history"], lambda model, parts: model.encode_users(*parts))


def embed_items(items: DataFrame, checkpoint: Checkpoint) -> DataFrame:
    """Add `vector` to rows of item_features. One row an item; the encoded fields are dropped."""
    return _embed(items, checkpoint, ["item_index", "item_features"], lambda model, parts: model.encode_items(*parts))


def _embed(rows: DataFrame, checkpoint: Checkpoint, inputs: list[str], encode) -> DataFrame:
    shared = rows.sparkSession.sparkContext.broadcast(checkpoint)
    kept = [name for name in rows.columns if name not in {"user_features", "history", "item_features"}]
    schema = T.StructType([*rows.select(kept).schema.fields, VECTOR])

    def embed_batches(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        torch.set_num_threads(1)
        model = shared.value.restore()
        for batch in batches:
            parts = [torch.from_numpy(_numbers(batch.column(name))) for name in inputs]
            vectors_RD = encode(model, parts).numpy().astype(np.float32)
            columns = [*(batch.column(name) for name in kept), list_column(vectors_RD)]
            yield pa.RecordBatch.from_arrays(columns, [*kept, "vector"])

    return rows.mapInArrow(embed_batches, schema)


def _numbers(column: pa.Array) -> np.ndarray:
    return matrix(column) if isinstance(column, pa.ListArray) else column.to_numpy().copy()
