"""How many users clicked both of two items: sparse products of partitions of users, summed by item."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from scipy import sparse

from divspa.arrow import lists_of, packed, unpacked, whole_groups
from divspa.linear.solver import Cooccurrences, clicks_of, strongest_partners
from divspa.lists import Lists, offsets_of

PRODUCTS_AT_ONCE = 16_000_000
# So many entries a row of Spark: thousands of rows make one batch of Arrow, whose columns end at 2 GB.
ENTRIES_A_ROW = 4096
PIECE = "item bigint, others binary, counts binary"
COUNTED = "item bigint, earlier binary, earlier_counts binary, partners binary, partner_counts binary"
Batches = Iterable[pa.RecordBatch]


@dataclass(frozen=True)
class Wanted:
    """What is kept of the counts: of each item its `support` strongest partners, if it is beyond the `dense` first."""

    dense: int
    support: int


def kept_clicks(users: DataFrame, most: int) -> DataFrame:
    """The clicked items that count: where a user (user_key, clicked) has more than `most`, a hashed sample of these."""

    def hashed(item: Column) -> Column:
        return F.struct(F.xxhash64("user_key", item).alias("hash"), item.alias("item"))

    sampled = F.slice(F.array_sort(F.transform("clicked", hashed)), 1, most)["item"]
    return users.select(F.when(F.size("clicked") > most, sampled).otherwise(F.col("clicked")).alias("clicked"))


def item_clicks(clicks: DataFrame, size: int) -> NDArray[np.int64]:
    """How many users clicked each of `size` items (V,)."""

    def count(batches: Batches) -> Iterator[pa.RecordBatch]:
        total_V = np.zeros(size, np.int64)
        for batch in batches:
            total_V += np.bincount(lists_of(batch["clicked"]).values_M, minlength=size)
        yield pa.RecordBatch.from_arrays([packed(Lists(np.array([0, size]), total_V))], ["counts"])

    parts = clicks.mapInArrow(count, "counts binary").toLocalIterator()
    return sum((np.frombuffer(part.counts, np.int64) for part in parts), np.zeros(size, np.int64))


def count_together(clicks: DataFrame, clicks_V: NDArray[np.int64], wanted: Wanted, tasks: int) -> Cooccurrences:
    """Count on Spark, and hold what is wanted on the driver: 8 bytes for two items that any user clicked both.

    `clicks` has one row a user, of distinct items; `clicks_V` how many users clicked an item. A task holds the clicks
    of its own users and a block of their products.
    """
    place_V = places_by_clicks(clicks_V)
    shared = clicks.sparkSession.sparkContext.broadcast((place_V, np.sort(clicks_V)[::-1]))

    def multiply(batches: Batches) -> Iterator[pa.RecordBatch]:
        place_V, _ = shared.value
        users = [lists_of(batch["clicked"]) for batch in batches if batch.num_rows]
        placed = [Lists(clicked.offsets_N1, place_V[clicked.values_M]) for clicked in users]
        yield from products(placed, len(place_V), wanted.dense)

    def add_up(batches: Batches) -> Iterator[pa.RecordBatch]:
        _, clicks_I = shared.value
        for rows in whole_groups(batches, "item"):
            yield summed(rows, clicks_I, wanted)

    pieces = clicks.repartition(tasks).mapInArrow(multiply, PIECE)
    ordered = pieces.repartition(tasks, "item").sortWithinPartitions("item")
    rows = ordered.mapInArrow(add_up, COUNTED).toLocalIterator(prefetchPartitions=True)
    counted = Cooccurrences.of(rows, np.argsort(place_V, kind="stable"), np.sort(clicks_V)[::-1])
    shared.destroy()
    return counted


def places_by_clicks(clicks_V: NDArray[np.int64]) -> NDArray[np.int32]:
    """The place of each item in the order of clicks, the most first; ties by item (V,)."""
    place_V = np.empty(len(clicks_V), np.int32)
    place_V[np.argsort(-clicks_V, kind="stable")] = np.arange(len(clicks_V))
    return place_V


def products(users: list[Lists], size: int, dense: int) -> Iterator[pa.RecordBatch]:
    """The counts of pairs among the clicks of some users, in rows of PIECE.

    A pair is given with its rarer item, and where `dense` or more are clicked more often than one, with that too.
    """
    if not users:
        return
    items_M = np.concatenate([lists.values_M for lists in users])
    lengths_U = np.concatenate([lists.lengths for lists in users])
    clicks = clicks_of(Lists(offsets_of(lengths_U), items_M), size, np.int32)
    by_item = clicks.T.tocsr()
    work_I = np.cumsum(by_item @ lengths_U)
    start = 0
    while start < size:
        done = work_I[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(work_I, done + PRODUCTS_AT_ONCE, side="right")))
        yield _pieces(start, (by_item[start:stop] @ clicks).tocsr(), dense)
        start = stop


def _pieces(first: int, counts: sparse.csr_array, dense: int) -> pa.RecordBatch:
    """Rows of a product as rows of PIECE, long ones in several."""
    every = Lists(counts.indptr.astype(np.int64), counts.indices)
    item_M = every.owners + first
    kept_M = (every.values_M < item_M) | ((item_M >= dense) & (every.values_M > item_M))
    others = every.keep(kept_M)
    rows_I = -(-others.lengths // ENTRIES_A_ROW)
    item_R = np.repeat(np.arange(len(others)), rows_I)
    part_R = np.arange(len(item_R)) - np.repeat(np.cumsum(rows_I) - rows_I, rows_I)
    offsets = np.append(others.offsets_N1[item_R] + part_R * ENTRIES_A_ROW, len(others.values_M))
    columns = [pa.array((item_R + first).astype(np.int64))]
    columns += [packed(Lists(offsets, of.astype(np.int32))) for of in (others.values_M, counts.data[kept_M])]
    return pa.RecordBatch.from_arrays(columns, ["item", "others", "counts"])


def summed(rows: pa.RecordBatch, clicks_I: NDArray[np.int64], wanted: Wanted) -> pa.RecordBatch:
    """The pieces of whole items as one row an item, in the columns of COUNTED.

    `earlier` are the items before it in the order of clicks that were clicked together with it, ascending: each pair is
    kept once, with its rarer item, so no row is long.
    """
    items_G, row_R = np.unique(rows["item"].to_numpy(), return_inverse=True)
    others, counts = unpacked(rows["others"], np.int32), unpacked(rows["counts"], np.int32)
    ends = offsets_of(np.bincount(row_R, weights=others.lengths, minlength=len(items_G)).astype(np.int64))
    together: Any = sparse.csr_array((counts.values_M, others.values_M, ends), (len(items_G), len(clicks_I)))
    together.sum_duplicates()
    every, count_M = Lists(together.indptr.astype(np.int64), together.indices), together.data
    item_M = items_G[every.owners]
    earlier, partners = every.values_M < item_M, item_M >= wanted.dense
    strong = strongest_partners(every.keep(partners), count_M[partners], item_M[partners], clicks_I, wanted.support)
    before = every.keep(earlier)
    kept = [before, Lists(before.offsets_N1, count_M[earlier]), *strong]
    return pa.RecordBatch.from_arrays(
        [pa.array(items_G), *(packed(Lists(of.offsets_N1, of.values_M.astype(np.int32))) for of in kept)],
        [column.split()[0] for column in COUNTED.split(", ")],
    )
