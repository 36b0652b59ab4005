"""Stage `train_linear`: count on Spark which items are clicked together, solve, and write each item's neighbours."""

import time
from collections.abc import Iterable, Iterator
from datetime import date

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from scipy import sparse

from divspa.arrow import list_column, lists_of
from divspa.config import Config
from divspa.lake.tables import Lake
from divspa.lake.training_split import counted_clicks, held_out_clicks, trained_clicks
from divspa.linear.cooccurrence import Wanted, count_together, item_clicks, kept_clicks, places_by_clicks
from divspa.linear.solution import Solution, solve
from divspa.linear.solver import HeldOut
from divspa.lists import Lists
from divspa.schemas import EXAMPLES, ITEM_FEATURES, ITEM_NEIGHBOURS, TRAINING_RUNS, USER_FEATURES
from divspa.settings import fingerprint

LINEAR = "linear"
READ = (EXAMPLES, ITEM_FEATURES, USER_FEATURES)
ROW = {
    "item_id": "string",
    "item_index": "int",
    "neighbour_ids": "array<string>",
    "neighbour_indices": "array<int>",
    "weights": "array<float>",
}


def train_linear(lake: Lake, config: Config, ds: date) -> None:
    """Write item_neighbours of one day, and its row of training_runs, from the training split alone."""
    started, settings = time.perf_counter(), config.linear
    versions = {table.name: lake.version(table) for table in READ}
    items, users, examples = (
        lake.read_day(table, ds, versions[table.name], **part)
        for table, part in ((ITEM_FEATURES, {}), (USER_FEATURES, {"as_of": "cutoff"}), (EXAMPLES, {}))
    )
    names = items.select("item_index", "item_id")
    size = int(names.agg(F.max("item_index")).head()[0]) + 1  # pyright: ignore[reportOptionalSubscript]
    trained = trained_clicks(users, examples).persist()
    counting = trained
    if config.clicks.is_weighted:
        counting = counted_clicks(trained, examples.where("split = 'train'"))
        counting = counting.select("user_key", F.col("counted").alias("clicked"))
    clicks = kept_clicks(counting, settings.max_user_items)
    clicks_V = item_clicks(clicks, size)
    wanted = Wanted(settings.max_dense_items, settings.support)
    counts = count_together(clicks, clicks_V, wanted, config.spark.tasks)
    asked = held_out_clicks(examples, config.evaluation.events)
    solution = solve(counts, settings, held_out(trained, asked, places_by_clicks(clicks_V)))
    trained.unpersist()
    version = fingerprint(settings, ds, sorted(versions.items()))
    if solution.weights_VV.nnz:
        rows = neighbour_rows(names, solution.weights_VV, config.spark.tasks)
    else:
        # As of few users who clicked few items: it says nothing, which is what an item says of itself, and its lists
        # are those of popularity.
        itself = {"neighbour_ids": F.array("item_id"), "neighbour_indices": F.array("item_index")}
        rows = names.withColumns(itself | {"weights": F.array(F.lit(0.0).cast("float"))})
    lake.replace_day(ITEM_NEIGHBOURS, rows.withColumn("model_version", F.lit(version)), ds, unique=True)
    _record(lake, config, ds, version, versions, solution, time.perf_counter() - started)


def held_out(trained: DataFrame, asked: DataFrame, place_V: NDArray[np.int32]) -> HeldOut:
    """The held-out clicks, and what their users clicked else; items by place."""
    by_user = asked.groupBy("user_key").agg(F.collect_list("item_index").alias("asked"))
    found = trained.join(F.broadcast(by_user), "user_key").select("clicked", "asked").toArrow().combine_chunks()
    if not len(found):
        nothing = np.zeros(0, np.int64)
        return HeldOut(Lists(np.zeros(1, np.int64), nothing), nothing, nothing)
    clicked, events = lists_of(found["clicked"].chunk(0)), lists_of(found["asked"].chunk(0))
    return HeldOut(Lists(clicked.offsets_N1, place_V[clicked.values_M]), events.owners, place_V[events.values_M])


def neighbour_rows(names: DataFrame, weights_VV: sparse.csr_array, tasks: int) -> DataFrame:
    """The rows of item_neighbours, without the model's version; `names` has item_index and item_id."""
    spark = names.sparkSession
    of_names, size = names.toArrow(), len(weights_VV.indptr) - 1
    ids_V = np.full(size, "", object)
    ids_V[of_names["item_index"].to_numpy()] = of_names["item_id"].to_numpy(zero_copy_only=False)
    shared = spark.sparkContext.broadcast((weights_VV, pa.array(ids_V, pa.string())))

    def cut(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        weights_VV, names_V = shared.value
        for batch in filter(len, batches):
            items = batch["id"].to_numpy()
            items = items[np.diff(weights_VV.indptr)[items] > 0]
            part = weights_VV[items]
            others = part.indices.astype(np.int32)
            columns = [names_V.take(pa.array(items)), pa.array(items.astype(np.int32))]
            offsets = pa.array(part.indptr.astype(np.int32))
            columns += [pa.ListArray.from_arrays(offsets, names_V.take(pa.array(others)))]
            columns += [list_column(values, part.indptr) for values in (others, part.data.astype(np.float32))]
            yield pa.RecordBatch.from_arrays(columns, list(ROW))

    rows = spark.range(0, size, 1, tasks)
    return rows.mapInArrow(cut, ", ".join(f"{name} {kind}" for name, kind in ROW.items()))


def _record(
    lake: Lake, config: Config, ds: date, version: str, versions: dict[str, int], solution: Solution, seconds: float
) -> None:
    """Its row of training_runs: what was read, and the score of each regularisation."""
    chosen = config.linear.regularisations.index(solution.regularisation)
    settings, scores = config.model_dump_json(), list(solution.scores)
    run = (version, "", settings, versions, [], scores, chosen, 0, round(seconds, 3), False, None)
    lake.replace_day_with(TRAINING_RUNS, [run], ds, model=LINEAR)
