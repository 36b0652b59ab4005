"""What the ways found, where the pairs need it: of items on the driver for broadcast, of users in one row a user."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark import Broadcast, StorageLevel
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from divspa.arrow import lists_of, matrix
from divspa.augmentation.catalogue import Catalogue, Neighbours
from divspa.augmentation.inputs import Inputs
from divspa.augmentation.settings import DivSPA
from divspa.augmentation.states import FOUND, OWN, state_batches, state_schema
from divspa.augmentation.ways.way import Found, Known, Way
from divspa.retrieval import SearchReport, worker_errors


@dataclass(frozen=True)
class Gathered:
    """Candidates on the workers: the items' in the catalogue, and in `states` the users', in columns of `state_schema`.

    Pairs meet their users in `tasks` partitions; `searches` has the report of each way that searched, and
    `popularity_V` the items' training clicks.
    """

    catalogue: Broadcast[Catalogue]
    states: DataFrame
    tasks: int
    searches: dict[str, SearchReport]
    popularity_V: NDArray[np.int64]


@contextmanager
def gathered(inputs: Inputs, ways: Mapping[str, Way], settings: DivSPA, tasks: int) -> Iterator[Gathered]:
    """Take every way, and hold what it found while the pairs are augmented."""
    users = inputs.users.persist(StorageLevel.MEMORY_AND_DISK)
    catalogue = build_catalogue(inputs.items, inputs.addable, inputs.popularity)
    known = Known(inputs.items, inputs.addable, users, catalogue.has_directions, settings, tasks, inputs.tables)
    found = {name: way.find(known) for name, way in ways.items()}
    near = {name: item_neighbours(found[name], way, catalogue) for name, way in ways.items() if way.start == "item"}
    of_users = {name: found[name] for name, way in ways.items() if way.start == "user"}
    shared = users.sparkSession.sparkContext.broadcast(replace(catalogue, neighbours=near))
    states = user_states(users, of_users, shared, settings.top_k, tasks).persist(StorageLevel.MEMORY_AND_DISK)
    searches = {name: of_way.report for name, of_way in found.items() if of_way.report is not None}
    try:
        yield Gathered(shared, states, tasks, searches, catalogue.popularity_V)
    finally:
        states.unpersist()
        users.unpersist()
        shared.destroy()


def build_catalogue(items: DataFrame, addable: DataFrame, popularity: DataFrame) -> Catalogue:
    """Items and their vectors on the driver.

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
    clicks = popularity.toArrow()
    popularity_V = np.zeros(len(vectors_VD), np.int64)
    popularity_V[clicks["item_index"].to_numpy()] = clicks["popularity"].to_numpy()
    return Catalogue(item_ids, vectors_VD, addable_A, popularity_V)


def item_neighbours(found: Found, way: Way, catalogue: Catalogue) -> Neighbours:
    """What a way found for each item, of what may be added, gathered on the driver: O(items * candidates) bytes."""
    with worker_errors():
        table = found.candidates.toArrow().combine_chunks()
    ids, scores = lists_of(table["ids"].combine_chunks()), lists_of(table["scores"].combine_chunks())
    addable_M = catalogue.is_addable[ids.values_M]
    ids, scores = ids.keep(addable_M), scores.keep(addable_M)
    width, row = int(ids.lengths.max(initial=1)), table["id"].to_numpy()
    ids_VW, scores_VW = np.zeros((catalogue.size, width), np.int32), np.zeros((catalogue.size, width), np.float32)
    ids_VW[row], scores_VW[row] = ids.padded(0, width), scores.padded(0, width)
    return Neighbours(ids_VW, scores_VW, way.complete)


def user_states(
    users: DataFrame, found: Mapping[str, Found], catalogue: Broadcast[Catalogue], top_k: int, tasks: int
) -> DataFrame:
    """What is needed of a user to augment the user's pairs. One row a user, in the columns of `state_schema`.

    `users` has user_key, vector and clicked (ascending); of what each way found for a user the best `top_k` stay.
    """
    ways = list(found)
    stream = _rows(users, "user_key", OWN, vector="vector", items="clicked")
    for place, of_way in enumerate(found.values()):
        stream = stream.unionAll(_rows(of_way.candidates, "id", FOUND + place, items="ids", scores="scores"))

    def bring_together(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return state_batches(batches, catalogue.value, ways, top_k)

    gathered = stream.repartition(tasks, "user_key").sortWithinPartitions("user_key", "kind")
    return gathered.mapInArrow(bring_together, state_schema(ways))


def _rows(frame: DataFrame, user: str, kind: int, **columns: str) -> DataFrame:
    """Rows about users in one form: user_key, kind, vector, items, scores; what is not given is null."""
    types = {"vector": "array<float>", "items": "array<int>", "scores": "array<float>"}
    values = [
        (F.col(columns[name]) if name in columns else F.lit(None)).cast(kept).alias(name)
        for name, kept in types.items()
    ]
    return frame.select(F.col(user).alias("user_key"), F.lit(kind).cast("tinyint").alias("kind"), *values)
