"""A synthetic log as the tables that the stage `augment` reads: users click around their own centre of interest."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from divspa.arrow import list_column
from divspa.augmentation.sampling import hashed_uniforms
from divspa.bench.vectors import CLUSTERS, FILE_ROWS, Embeddings
from divspa.lake.tables import Lake
from divspa.lists import Lists, offsets_of
from divspa.schemas import EXAMPLES, ITEM_EMBEDDINGS, ITEM_FEATURES, USER_EMBEDDINGS, USER_FEATURES, Table

USERS, ITEMS = 0, 1
OWN_CENTRE = 0.7
HISTORY = 50
FIELDS = 8
CLICKS = "id bigint, row int, item int, history array<int>, history_length int"
STATES = "id bigint, clicked array<int>, history array<int>, history_length int"
Batches = Iterable[pa.RecordBatch]


@dataclass(frozen=True)
class Positives:
    """About `pairs` distinct clicks; a user's number of clicks is exponential, and most lie around one centre."""

    pairs: int
    users: int
    items: int
    embeddings: Embeddings

    def write(self, lake: Lake, ds: date, model: str) -> None:
        """Write the tables of one day without their contracts' checks, which are not what is measured."""
        made = {
            part: lake.spark.range(0, rows, 1, -(-rows // FILE_ROWS)).mapInArrow(
                lambda batches, part=part: self.embeddings.made(batches, part), "id bigint, vector array<float>"
            )
            for part, rows in ((USERS, self.users), (ITEMS, self.items))
        }
        user_id, item_index = F.concat(F.lit("user-"), "id"), F.col("id").cast("int") + 2
        user = {"user_id": user_id, "user_key": F.xxhash64(user_id), "as_of": F.lit("cutoff"), "model": F.lit(model)}
        item = {"item_index": item_index, "item_id": F.concat(F.lit("item-"), item_index), "model": F.lit(model)}
        _save(lake, USER_EMBEDDINGS, made[USERS].withColumns(user), ds)
        _save(lake, ITEM_EMBEDDINGS, made[ITEMS].withColumns(item), ds)
        people = lake.spark.range(0, self.users, 1, -(-self.users // FILE_ROWS))
        encoded = F.array(*[F.pmod(F.xxhash64("id", F.lit(field)), F.lit(1000)).cast("int") for field in range(FIELDS)])
        user["user_features"] = encoded
        states = people.mapInArrow(lambda batches: map(_as_states, self._clicks(batches)), STATES)
        _save(lake, USER_FEATURES, states.withColumns(user), ds)
        pairs = people.mapInArrow(lambda batches: map(_as_clicks, self._clicks(batches)), CLICKS).withColumns(
            user
            | {
                "split": F.lit("train"),
                "example_id": F.xxhash64("user_id", "row"),
                "item_id": F.concat(F.lit("item-"), "item"),
                "item_index": F.col("item"),
                "clicked_at": F.lit(ds).cast("timestamp"),
                "seen": F.lit(False),
            }
        )
        _save(lake, EXAMPLES, pairs, ds)
        counted = lake.read_day(EXAMPLES, ds).groupBy("item_index", "item_id").agg(F.count("*").alias("train_clicks"))
        own = {"item_features": F.array(F.col("item_index")), "popularity": F.col("train_clicks")}
        _save(lake, ITEM_FEATURES, counted.withColumns(own), ds)

    def write_clicks(self, lake: Lake, ds: date, held_out: int) -> None:
        """Write clicks and catalogue alone, and the first clicks of about `held_out` users as the split `valid`."""
        user_id, files = F.concat(F.lit("user-"), "id"), -(-self.users // FILE_ROWS)
        user = {"user_id": user_id, "user_key": F.xxhash64(user_id), "user_features": F.array(F.lit(1))}
        people = lake.spark.range(0, self.users, 1, files)
        states = people.mapInArrow(lambda batches: map(_as_states, self._clicks(batches)), STATES)
        _save(lake, USER_FEATURES, states.withColumns(user | {"as_of": F.lit("cutoff")}), ds)
        asked = lake.spark.range(0, self.users, max(1, self.users // held_out), 1)
        pairs = asked.mapInArrow(lambda batches: map(_as_clicks, self._clicks(batches)), CLICKS).where("row = 0")
        item_id = F.concat(F.lit("item-"), "item_index")
        event = {"split": F.lit("valid"), "example_id": F.xxhash64("user_id", "row"), "item_index": F.col("item")}
        event |= {"item_id": F.concat(F.lit("item-"), "item"), "clicked_at": F.lit(ds).cast("timestamp")}
        _save(lake, EXAMPLES, pairs.withColumns(user).withColumns(event | {"seen": F.lit(False)}), ds)
        catalogue = lake.spark.range(2, self.items + 2).select(F.col("id").cast("int").alias("item_index"))
        more = {"item_id": item_id, "popularity": F.lit(1), "item_features": F.array("item_index")}
        _save(lake, ITEM_FEATURES, catalogue.withColumns(more), ds)

    def _clicks(self, batches: Batches) -> Iterator[tuple[NDArray[np.int64], Lists]]:
        """Users and the items that each clicked, in the order of the clicks."""
        centre_V = self.embeddings.centres(np.arange(self.items), ITEMS)
        by_centre_V = np.argsort(centre_V, kind="stable")
        starts_C1 = np.searchsorted(centre_V[by_centre_V], np.arange(CLUSTERS + 1))
        for batch in filter(len, batches):
            ids_N = batch["id"].to_numpy()
            counts_N = self._counts(ids_N)
            owner_M = np.repeat(np.arange(len(ids_N)), counts_N)
            place_M = np.arange(len(owner_M)) - np.repeat(np.cumsum(counts_N) - counts_N, counts_N)
            user_M = ids_N[owner_M]
            centre_M = self.embeddings.centres(ids_N, USERS)[owner_M]
            own_M = self._uniforms(2, user_M, place_M) < OWN_CENTRE
            own_M &= starts_C1[centre_M] < starts_C1[centre_M + 1]
            spread_M = self._uniforms(3, user_M, place_M) ** 2
            size_M = starts_C1[centre_M + 1] - starts_C1[centre_M]
            near_M = by_centre_V[np.minimum(starts_C1[centre_M] + (spread_M * size_M).astype(np.int64), self.items - 1)]
            item_M = 2 + np.where(own_M, near_M, (spread_M * self.items).astype(np.int64))
            _, first_F = np.unique(owner_M * (self.items + 2) + item_M, return_index=True)
            kept_F = np.sort(first_F)
            lengths_N = np.bincount(owner_M[kept_F], minlength=len(ids_N))
            yield ids_N, Lists(offsets_of(lengths_N), item_M[kept_F].astype(np.int32))

    def _counts(self, ids_N: NDArray[np.int64]) -> NDArray[np.int64]:
        more_N = -np.log(self._uniforms(4, ids_N, np.zeros_like(ids_N))) * (self.pairs / self.users - 0.5)
        return np.minimum(1 + more_N.astype(np.int64), max(self.items // 2, 1))

    def _uniforms(self, purpose: int, ids_M: NDArray[np.int64], place_M: NDArray[np.int64]) -> NDArray[np.float64]:
        return hashed_uniforms([self.embeddings.seed, purpose, ids_M, place_M])


def _as_clicks(made: tuple[NDArray[np.int64], Lists]) -> pa.RecordBatch:
    """One row a click, with the user's clicks before it as its history."""
    ids_N, clicks = made
    row_M = np.arange(len(clicks.values_M)) - np.repeat(clicks.offsets_N1[:-1], clicks.lengths)
    history_ML, length_M = _histories(clicks.values_M, np.arange(len(row_M)), row_M)
    arrays = [pa.array(ids_N[clicks.owners]), pa.array(row_M.astype(np.int32)), pa.array(clicks.values_M)]
    arrays += [list_column(history_ML), pa.array(length_M)]
    return pa.RecordBatch.from_arrays(arrays, ["id", "row", "item", "history", "history_length"])


def _as_states(made: tuple[NDArray[np.int64], Lists]) -> pa.RecordBatch:
    """One row a user, after all the user's clicks."""
    ids_N, clicks = made
    order_M = np.lexsort((clicks.values_M, clicks.owners))
    history_NL, length_N = _histories(clicks.values_M, clicks.offsets_N1[1:], clicks.lengths)
    clicked = list_column(clicks.values_M[order_M], clicks.offsets_N1)
    arrays = [pa.array(ids_N), clicked, list_column(history_NL), pa.array(length_N)]
    return pa.RecordBatch.from_arrays(arrays, ["id", "clicked", "history", "history_length"])


def _histories(
    items_M: NDArray[np.int32], ends_N: NDArray[np.int64], before_N: NDArray[np.int64]
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """The last of the `before_N` items before each place `ends_N`, oldest first, padded with 0, and their number."""
    length_N = np.minimum(before_N, HISTORY)
    real_NL = np.arange(HISTORY) < length_N[:, None]
    place_NL = (ends_N - length_N)[:, None] + np.arange(HISTORY)
    return np.where(real_NL, items_M[np.where(real_NL, place_NL, 0)], 0).astype(np.int32), length_N.astype(np.int32)


def _save(lake: Lake, table: Table, rows: DataFrame, ds: date) -> None:
    given = {column.name: F.lit(None) for column in table.columns if column.nullable}
    given |= {"ds": F.lit(ds), "model_version": F.lit("bench")}
    rows = rows.withColumns({name: value for name, value in given.items() if name not in rows.columns})
    typed = [F.col(column.name).cast(column.type).alias(column.name) for column in table.columns]
    rows.select(typed).write.format("delta").partitionBy(*table.partitioned_by).save(lake.path(table))
