"""The three ways to candidates: u2i and u2u2i for a user, i2i for an item (Section 3.2)."""

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from divspa.arrow import list_column
from divspa.retrieval import top_k

CANDIDATES = "user_key bigint, ids array<bigint>, scores array<float>"
SCORED_AT_ONCE = 1_000_000


def user_candidates(users: DataFrame, items: DataFrame, k: int) -> DataFrame:
    """u2i: the k best items that the user has not clicked. One row a user: user_key, ids (item_index), scores.

    `users` has user_key, vector and clicked; `items` has item_index and vector.
    """
    queries = users.select(F.col("user_key").alias("id"), "vector", F.col("clicked").alias("exclude"))
    return top_k(queries, _items_as_index(items), k).withColumnRenamed("id", "user_key")


def item_candidates(items: DataFrame, k: int) -> DataFrame:
    """i2i: the k items nearest to an item, without itself. One row an item: item_index, ids, scores."""
    index = _items_as_index(items)
    return top_k(index, index, k, exclude_self=True).withColumnRenamed("id", "item_index")


def neighbour_candidates(users: DataFrame, items: DataFrame, neighbours: int, k: int) -> DataFrame:
    """u2u2i: what the nearest users clicked in training, scored again by s(u, v). One row a user, as in u2i."""
    index = users.select(F.col("user_key").alias("id"), "vector")
    nearest = top_k(index, index, neighbours, exclude_self=True)
    edges = nearest.select(F.col("id").alias("user_key"), F.explode("ids").alias("neighbour"))
    clicks = users.select(F.col("user_key").alias("neighbour"), F.col("clicked").alias("theirs"))
    pooled = edges.join(clicks, "neighbour").groupBy("user_key").agg(F.flatten(F.collect_list("theirs")).alias("pool"))
    fresh = users.join(pooled, "user_key").select(
        "user_key", "vector", F.array_sort(F.array_except("pool", "clicked")).alias("pool")
    )
    return _score_pool(fresh, items, k)


def item_vectors(items: DataFrame) -> np.ndarray:
    """All item vectors by item index [V, D], on the driver: one item takes 128 bytes at 32 dimensions."""
    rows = items.select("item_index", "vector").toPandas()
    vectors_VD = np.zeros((rows["item_index"].max() + 1, len(rows["vector"].iloc[0])), np.float32)
    vectors_VD[rows["item_index"]] = np.stack(list(rows["vector"]))
    return vectors_VD


def _items_as_index(items: DataFrame) -> DataFrame:
    return items.select(F.col("item_index").cast("bigint").alias("id"), "vector")


def _score_pool(pools: DataFrame, items: DataFrame, k: int) -> DataFrame:
    """Keep the k items of each pool that the user's own vector scores highest; ties go to the smaller index."""
    shared = pools.sparkSession.sparkContext.broadcast(item_vectors(items))

    def score_batches(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for part in _parts(batch):
                users_UD = np.stack(part.column("vector").to_numpy(zero_copy_only=False))
                offsets = np.asarray(part.column("pool").offsets)
                pool = part.column("pool").flatten().to_numpy().astype(np.int64)
                ids, scores, kept = best_of_pools(users_UD, pool, np.diff(offsets), shared.value, k)
                columns = [part.column("user_key"), list_column(ids, kept), list_column(scores, kept)]
                yield pa.RecordBatch.from_arrays(columns, ["user_key", "ids", "scores"])

    return pools.mapInArrow(score_batches, CANDIDATES)


def _parts(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """Cut a batch so that no part scores much more than a million pairs at once."""
    ends = np.cumsum(batch.column("pool").value_lengths().to_numpy(zero_copy_only=False))
    start = 0
    while start < batch.num_rows:
        before = ends[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, before + SCORED_AT_ONCE, side="right")))
        yield batch.slice(start, stop - start)
        start = stop


def best_of_pools(
    users_UD: np.ndarray, pool_P: np.ndarray, sizes_U: np.ndarray, vectors_VD: np.ndarray, k: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Score ragged pools and keep the best k of each. Returns flat ids, flat scores and the U + 1 offsets."""
    row_P = np.repeat(np.arange(len(sizes_U)), sizes_U)
    scores_P = np.einsum("pd,pd->p", users_UD[row_P], vectors_VD[pool_P]).astype(np.float32)
    order_P = np.lexsort((pool_P, -scores_P, row_P))
    place_P = np.arange(len(row_P)) - np.repeat(np.cumsum(sizes_U) - sizes_U, sizes_U)
    best = order_P[place_P < k]
    return pool_P[best], scores_P[best], np.r_[0, np.cumsum(np.minimum(sizes_U, k))]
