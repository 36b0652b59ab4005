"""The three ways to candidates: u2i and u2u2i for a user, i2i for an item (Section 3.2)."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
import pyarrow as pa
from pyspark import Broadcast
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from divspa.arrow import matrix, padded
from divspa.augmentation.catalogue import Catalogue
from divspa.augmentation.states import FOUND, NEIGHBOUR, OWN, STATE_SCHEMA, state_batches
from divspa.config import DivSPA
from divspa.retrieval import SearchReport, search, worker_errors

# Candidates of an item that the user has clicked are passed over, so more than k are kept for each item.
I2I_SPARE = 3
Searches = dict[str, SearchReport]


def build_catalogue(
    items: DataFrame, addable: DataFrame, popularity: DataFrame, settings: DivSPA
) -> tuple[Catalogue, Searches]:
    """Items, their vectors and their i2i candidates, gathered on the driver for broadcast: O(items * k) bytes.

    `items` has item_index, item_id and vector; `addable` holds those of its rows that may be added as positives;
    `popularity` has item_index and its training clicks.
    """
    with worker_errors():
        rows = items.select("item_index", "item_id", "vector").toArrow().combine_chunks()
        addable_A = np.sort(addable.select("item_index").toArrow()["item_index"].to_numpy().astype(np.int64))
    index = rows["item_index"].to_numpy()
    vectors = matrix(rows["vector"].combine_chunks())
    vectors_VD = np.zeros((index.max() + 1, vectors.shape[1]), np.float32)
    vectors_VD[index] = vectors
    row_V = np.full(len(vectors_VD), -1)
    row_V[index] = np.arange(len(index))
    item_ids = rows["item_id"].combine_chunks().take(pa.array(row_V, mask=row_V < 0)).fill_null("")
    popularity_V = _by_item(popularity, len(vectors_VD))
    no_neighbours = _no_neighbours(len(vectors_VD))
    catalogue = Catalogue(item_ids, vectors_VD, addable_A, popularity_V, settings.popularity_discount, *no_neighbours)
    if "i2i" not in settings.ways:
        return catalogue, {}
    queries, index = _as_index(items, catalogue), _as_index(addable, catalogue)
    nearest_VW, scores_VW, report = _nearest(queries, index, len(vectors_VD), settings.top_k * I2I_SPARE)
    return replace(catalogue, nearest_VW=nearest_VW, scores_VW=scores_VW), {"i2i": report}


def _by_item(popularity: DataFrame, size: int) -> np.ndarray:
    """Training clicks of each item (V,)."""
    rows = popularity.toArrow()
    popularity_V = np.zeros(size, np.int64)
    popularity_V[rows["item_index"].to_numpy()] = rows["popularity"].to_numpy()
    return popularity_V


def _nearest(
    items: DataFrame, addable: DataFrame, size: int, width: int
) -> tuple[np.ndarray, np.ndarray, SearchReport]:
    """i2i: the addable items nearest to each item, without itself, as matrices [V, W] padded with 0."""
    nearest_VW, scores_VW = np.zeros((size, width), np.int32), np.zeros((size, width), np.float32)
    found, report = search(items, addable, width, exclude_self=True)
    with worker_errors():
        table = found.select("id", F.col("ids").cast("array<int>").alias("ids"), "scores").toArrow()
    for batch in table.to_batches():
        row = batch["id"].to_numpy()
        nearest_VW[row], scores_VW[row] = padded(batch["ids"], width, 0), padded(batch["scores"], width, 0)
    return nearest_VW, scores_VW, report


def _no_neighbours(size: int) -> tuple[np.ndarray, np.ndarray]:
    return np.zeros((size, 0), np.int32), np.zeros((size, 0), np.float32)


def user_states(
    users: DataFrame, addable: DataFrame, catalogue: Broadcast[Catalogue], settings: DivSPA, partitions: int
) -> tuple[DataFrame, Searches]:
    """What is needed of a user to augment the user's pairs. One row a user, in the columns of STATE_SCHEMA.

    `users` has user_key, vector and clicked (ascending). u2i: the best items that the user has not clicked. u2u2i: what
    the nearest users clicked in training, scored again by s(u, v).
    """
    parts, searches = [_rows(users, "user_key", OWN, vector="vector", items="clicked")], {}
    queries = users.select(F.col("user_key").alias("id"), "vector", F.col("clicked").alias("exclude"))
    if "u2i" in settings.ways:
        found, searches["u2i"] = search(
            queries, addable.select(F.col("item_index").cast("bigint").alias("id"), "vector"), settings.top_k
        )
        parts.append(_rows(found, "id", FOUND, items="ids", scores="scores"))
    if "u2u2i" in settings.ways:
        index = _directions(queries.drop("exclude"), catalogue.value)
        nearest, searches["u2u2i"] = search(index, index, settings.top_k_users, exclude_self=True)
        # Spark's own number of partitions knows nothing of the users, and a sort of millions in each needs too much.
        edges = nearest.select("id", F.explode("ids").alias("neighbour")).repartition(partitions, "neighbour")
        theirs = users.select(F.col("user_key").alias("neighbour"), "clicked").repartition(partitions, "neighbour")
        parts.append(_rows(edges.join(theirs, "neighbour"), "id", NEIGHBOUR, items="clicked"))
    stream = parts[0]
    for part in parts[1:]:
        stream = stream.unionAll(part)

    def bring_together(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return state_batches(batches, catalogue.value, settings.top_k)

    gathered = stream.repartition(partitions, "user_key").sortWithinPartitions("user_key", "kind")
    return gathered.mapInArrow(bring_together, STATE_SCHEMA), searches


def _rows(frame: DataFrame, user: str, kind: int, **columns: str) -> DataFrame:
    """Rows about users in one form: user_key, kind, vector, items, scores; what is not given is null."""
    types = {"vector": "array<float>", "items": "array<int>", "scores": "array<float>"}
    values = [
        (F.col(columns[name]) if name in columns else F.lit(None)).cast(kept).alias(name)
        for name, kept in types.items()
    ]
    return frame.select(F.col(user).alias("user_key"), F.lit(kind).cast("tinyint").alias("kind"), *values)


def _as_index(items: DataFrame, catalogue: Catalogue) -> DataFrame:
    return _directions(items.select(F.col("item_index").cast("bigint").alias("id"), "vector"), catalogue)


def _directions(rows: DataFrame, catalogue: Catalogue) -> DataFrame:
    """Vectors at unit length where the model's are not: an inner product would find the longest, not the nearest."""
    if catalogue.has_directions:
        return rows
    squares = F.transform("vector", lambda value: value.cast("double") * value)
    length = F.sqrt(F.aggregate(squares, F.lit(0.0), lambda total, square: total + square))
    longer = F.greatest(length, F.lit(1e-30))
    return rows.withColumn("vector", F.transform("vector", lambda value: (value / longer).cast("float")))
