"""Search of an index that is divided over tasks: rows and queries meet in slots, and the lists of a query are merged.

No task holds more than one slot's rows of the index and one batch of queries. Between the steps everything but ids
travels as BINARY, which Spark copies whole.
"""

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from divspa.arrow import packed, packed_rows, unpacked, whole_groups
from divspa.errors import ContractError
from divspa.lists import Lists
from divspa.retrieval.checks import checked
from divspa.retrieval.columns import ids_from, lists_from, result_batch, vectors_from
from divspa.retrieval.inputs import RESULT_SCHEMA, Request
from divspa.retrieval.kernel import Shard, TopK, best_of, build_shard, search
from divspa.retrieval.placement import Placement, Routes
from divspa.retrieval.worker import start_task

MESSAGE = ["key", "step", "id", "vector", "clusters", "exclude", "visits"]
MESSAGE_SCHEMA = "key bigint, step bigint, id bigint, vector binary, clusters binary, exclude binary, visits bigint"
PARTIAL = ["id", "ids", "scores", "visits"]
PARTIAL_SCHEMA = "id bigint, ids binary, scores binary, visits bigint"
Batches = Iterable[pa.RecordBatch]


@dataclass(frozen=True)
class Division:
    """What every task must know: who goes where, the key of each slot's partition, and the search's shape."""

    placement: Placement
    keys_S: NDArray[np.int64]
    dim: int
    k: int
    exclude_self: bool


def search_scattered(request: Request, placement: Placement) -> DataFrame:
    """One row a query: id, ids and scores. Raises ContractError inside the job when a query's id repeats."""
    context = request.queries.sparkSession.sparkContext
    keys_S = partition_keys(request.queries.sparkSession, placement.slots)
    shared = context.broadcast(Division(placement, keys_S, request.sizes.dim, request.k, request.exclude_self))
    rows = request.index.mapInArrow(lambda batches: _send_rows(batches, shared.value), MESSAGE_SCHEMA)
    asked = request.queries.mapInArrow(lambda batches: _send_queries(batches, shared.value), MESSAGE_SCHEMA)
    met = rows.unionAll(asked).repartition(placement.slots, "key").sortWithinPartitions("step")
    partials = met.mapInArrow(lambda batches: _search_slots(batches, shared.value), PARTIAL_SCHEMA)
    gathered = partials.repartition(max(2 * request.cores, placement.slots), "id").sortWithinPartitions("id")
    return gathered.mapInArrow(lambda batches: _merge(batches, shared.value), RESULT_SCHEMA)


def partition_keys(spark: SparkSession, partitions: int) -> NDArray[np.int64]:
    """For each partition a number that Spark hashes to it, so that each slot has a task of its own."""
    numbers = 16 * partitions
    while True:
        place = F.pmod(F.hash("id"), F.lit(partitions)).alias("place")
        found = spark.range(numbers).groupBy(place).agg(F.min("id").alias("key")).collect()
        if len(found) == partitions:
            return np.array([row.key for row in sorted(found, key=lambda row: row.place)], np.int64)
        numbers *= 2


def _send_rows(batches: Batches, division: Division) -> Iterator[pa.RecordBatch]:
    start_task()
    for batch in batches:
        ids_N, vectors_ND = ids_from(batch["id"]), vectors_from(batch["vector"], division.dim)
        routes = division.placement.place(ids_N, vectors_ND)
        nothing = pa.nulls(len(routes.rows_M), pa.binary())
        yield _messages(ids_N, vectors_ND, routes, division, nothing, is_query=0)


def _send_queries(batches: Batches, division: Division) -> Iterator[pa.RecordBatch]:
    start_task()
    for batch in batches:
        ids_N, vectors_ND = ids_from(batch["id"]), vectors_from(batch["vector"], division.dim)
        exclude = lists_from(batch["exclude"])
        exclude = exclude.append(ids_N) if division.exclude_self else exclude
        routes = division.placement.route(ids_N, vectors_ND, exclude.lengths + division.k)
        yield _messages(ids_N, vectors_ND, routes, division, packed(exclude.take(routes.rows_M)), is_query=1)


def _messages(
    ids_N: NDArray[np.int64],
    vectors_ND: NDArray[np.float32],
    routes: Routes,
    division: Division,
    exclude: pa.Array,
    is_query: int,
) -> pa.RecordBatch:
    columns = [
        pa.array(division.keys_S[routes.slots_M]),
        pa.array(routes.slots_M * 2 + is_query),
        pa.array(ids_N[routes.rows_M]),
        packed_rows(vectors_ND[routes.rows_M]),
        packed(routes.clusters),
        exclude,
        pa.array(np.bincount(routes.rows_M, minlength=len(ids_N))[routes.rows_M]),
    ]
    return pa.RecordBatch.from_arrays(columns, MESSAGE)


def _search_slots(batches: Batches, division: Division) -> Iterator[pa.RecordBatch]:
    """Sorted by step, a slot's rows come before its queries: gather the rows, then answer batch by batch."""
    start_task()
    slot, rows, shard = None, [], None
    for step, part in _runs(batches, "step"):
        if step // 2 != slot:
            slot, rows, shard = step // 2, [], None
        if step % 2 == 0:
            rows.append(part)
            continue
        if shard is None:
            shard, rows = _load(rows, division), []
        yield _answer(part, shard, division)


def _runs(batches: Batches, column: str) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Stretches of equal values in a sorted column."""
    for batch in batches:
        values_N = batch[column].to_numpy()
        starts = [0, *(np.flatnonzero(np.diff(values_N)) + 1).tolist(), len(values_N)]
        for start, end in itertools.pairwise(starts):
            if end > start:
                yield int(values_N[start]), batch.slice(start, end - start)


def _load(parts: list[pa.RecordBatch], division: Division) -> Shard:
    ids_N = np.concatenate([np.zeros(0, np.int64), *(ids_from(part["id"]) for part in parts)])
    values_M = [unpacked(part["vector"], np.float32).values_M for part in parts]
    vectors_ND = np.concatenate([np.zeros(0, np.float32), *values_M]).reshape(len(ids_N), division.dim)
    if not division.placement.clustered:
        return build_shard(ids_N, vectors_ND)
    clusters = [unpacked(part["clusters"], np.int32).values_M for part in parts]
    return build_shard(ids_N, vectors_ND, np.concatenate([np.zeros(0, np.int32), *clusters]).astype(np.int64))


def _answer(part: pa.RecordBatch, shard: Shard, division: Division) -> pa.RecordBatch:
    queries_ND = unpacked(part["vector"], np.float32).values_M.reshape(part.num_rows, division.dim)
    probes = unpacked(part["clusters"], np.int32) if division.placement.clustered else None
    found = search(shard, queries_ND, division.k, unpacked(part["exclude"], np.int64), probes)
    ids, scores = Lists(found.offsets_N1, found.ids_M), Lists(found.offsets_N1, found.scores_M)
    return pa.RecordBatch.from_arrays([part["id"], packed(ids), packed(scores), part["visits"]], PARTIAL)


def _merge(batches: Batches, division: Division) -> Iterator[pa.RecordBatch]:
    """One row a query from its consecutive partial lists."""
    start_task()
    for partials in whole_groups(batches, "id"):
        yield _merged(partials, division)


def _merged(partials: pa.RecordBatch, division: Division) -> pa.RecordBatch:
    ids_N, first_N, visits_N = np.unique(partials["id"].to_numpy(), return_index=True, return_counts=True)
    expected_N = partials["visits"].to_numpy()[first_N]
    if (wrong := np.flatnonzero(visits_N != expected_N)).size:
        raise ContractError(
            "The queries of a search repeat an id",
            expected="one row an id",
            found=f"id {ids_N[wrong[0]]} answered {visits_N[wrong[0]]} times by {expected_N[wrong[0]]} tasks",
        )
    ids, scores = unpacked(partials["ids"], np.int64), unpacked(partials["scores"], np.float32)
    owners_N1 = np.concatenate([ids.offsets_N1[first_N], ids.offsets_N1[-1:]])
    found = best_of(TopK(owners_N1, ids.values_M, scores.values_M), division.k)
    return result_batch(ids_N, checked(found, ids_N, division.exclude_self))
