"""Stage `evaluate`: rank the whole catalogue for every test event, and write metrics and a report."""

from collections.abc import Iterable, Iterator
from datetime import date

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from divspa.arrow import list_column, matrix
from divspa.config import Config
from divspa.errors import MissingTableError
from divspa.evaluation.metrics import accuracy, diversity
from divspa.evaluation.ranking import rank_users
from divspa.evaluation.report import ModelResult, write_report
from divspa.lake.tables import Lake
from divspa.models.checkpoint import DIVSPA
from schemas import EXAMPLES, ITEM_EMBEDDINGS, ITEM_FEATURES, METRICS, TRAINING_RUNS, USER_EMBEDDINGS, USER_FEATURES

SCORES_AT_ONCE = 16_000_000
POPULARITY = "popularity"
RANKED = "user_key bigint, ranks array<int>, top array<int>"


def evaluate(lake: Lake, config: Config, ds: date) -> dict[str, dict[str, float]]:
    """Write the metrics of every model of the day, and of plain popularity to compare, with an HTML report.

    Returns the metrics by model. Raises MissingTableError when no model or no test event is there.
    """
    runs = lake.read_day(TRAINING_RUNS, ds).where(F.col("model").isin(config.model.name, DIVSPA))
    versions = {row["model"]: row["model_version"] for row in runs.select("model", "model_version").collect()}
    questions = test_questions(lake, config, ds).persist()
    if questions.isEmpty():
        raise MissingTableError(
            f"The table examples has no test events on {ds}", remedy="mend `split` in the configuration"
        )
    catalogue = lake.read_day(ITEM_FEATURES, ds).select("item_index", "popularity").orderBy("item_index").toPandas()
    results = [evaluate_popularity(questions, catalogue, config)]
    for model in sorted(versions, key=lambda name: name == DIVSPA):
        users = lake.read_day(USER_EMBEDDINGS, ds, model=model, as_of="cutoff").select("user_key", "vector")
        items = lake.read_day(ITEM_EMBEDDINGS, ds, model=model).orderBy("item_index").select("vector").toPandas()
        vectors_ND = np.stack(list(items["vector"]))
        results.append(evaluate_model(model, questions.join(users, "user_key"), vectors_ND, catalogue, config))
    questions.unpersist()
    rows = [
        (result.model, versions.get(result.model, ""), metric, value)
        for result in results
        for metric, value in result.metrics.items()
    ]
    columns = "model string, model_version string, metric string, value double"
    lake.replace_day(METRICS, lake.spark.createDataFrame(rows, columns), ds)
    write_report(report_path(lake, ds), ds, results, catalogue["popularity"].to_numpy(), config.evaluation.ks)
    return {result.model: result.metrics for result in results}


def report_path(lake: Lake, ds: date) -> str:
    """Where the day's report lies."""
    return f"{lake.root}/reports/ds={ds}/report.html"


def test_questions(lake: Lake, config: Config, ds: date) -> DataFrame:
    """What is asked of a model. One row a user with test events: user_key, asked (item_index) and clicked before."""
    test = lake.read_day(EXAMPLES, ds, split="test")
    if config.evaluation.drop_seen:
        test = test.where("NOT seen")
    asked = test.groupBy("user_key").agg(F.array_sort(F.collect_list("item_index")).alias("asked"))
    clicked = lake.read_day(USER_FEATURES, ds, as_of="cutoff").select("user_key", "clicked")
    if not config.evaluation.drop_seen:
        clicked = clicked.withColumn("clicked", F.array().cast("array<int>"))
    return asked.join(clicked, "user_key")


def evaluate_popularity(questions: DataFrame, catalogue, config: Config) -> ModelResult:
    """Rank everyone by the training clicks of an item: the bar that any model must pass."""
    users = questions.withColumn("vector", F.array(F.lit(1.0).cast("float")))
    vectors_N1 = catalogue["popularity"].to_numpy(np.float32)[:, None]
    return evaluate_model(POPULARITY, users, vectors_N1, catalogue, config)


def evaluate_model(
    model: str,
    questions: DataFrame,
    vectors_ND: np.ndarray,
    catalogue,
    config: Config,
) -> ModelResult:
    """Rank, then average. `questions` carries each user's vector; item row n is the n-th of the catalogue."""
    ks = config.evaluation.ks
    index_N = catalogue["item_index"].to_numpy()
    ranked = rank_questions(questions, vectors_ND, index_N, max(ks)).persist()
    exploded = ranked.select("user_key", F.explode("ranks").alias("rank")).toPandas()
    metrics = accuracy(exploded["rank"].to_numpy(), exploded["user_key"].to_numpy(), ks)
    shown = ranked.select(F.posexplode("top").alias("place", "row")).where("row >= 0")
    exposures = {}
    for k in ks:
        counts = shown.where(F.col("place") < k).groupBy("row").count().toPandas()
        exposures[k] = np.zeros(len(index_N), np.int64)
        exposures[k][counts["row"].to_numpy()] = counts["count"].to_numpy()
        metrics |= diversity(exposures[k], k)
    ranked.unpersist()
    return ModelResult(model, metrics, exposures)


def rank_questions(questions: DataFrame, vectors_ND: np.ndarray, index_N: np.ndarray, k: int) -> DataFrame:
    """Rank the catalogue for every user, a block at a time. One row a user: ranks of the asked items, top k rows."""
    row_of = np.full(int(index_N.max()) + 1, -1, np.int64)
    row_of[index_N] = np.arange(len(index_N))
    shared = questions.sparkSession.sparkContext.broadcast((vectors_ND, row_of))
    block = max(1, SCORES_AT_ONCE // len(index_N))

    def rank_batches(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        items_ND, row_of_index = shared.value
        for batch in batches:
            for start in range(0, batch.num_rows, block):
                part = batch.slice(start, block)
                asked, clicked = (_pairs(part.column(name), row_of_index) for name in ("asked", "clicked"))
                ranked = rank_users(matrix(part.column("vector")), items_ND, clicked, asked, k)
                offsets = np.r_[0, np.cumsum(part.column("asked").value_lengths().to_numpy())]
                ranks = list_column(ranked.ranks_T.astype(np.int32), offsets)
                columns = [part.column("user_key"), ranks, list_column(ranked.top_UK.astype(np.int32))]
                yield pa.RecordBatch.from_arrays(columns, ["user_key", "ranks", "top"])

    return questions.select("user_key", "vector", "asked", "clicked").mapInArrow(rank_batches, RANKED)


def _pairs(column: pa.ListArray, row_of_index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A list column of item indices as (row, catalogue row) pairs; -1 for an item outside the catalogue."""
    lengths = column.value_lengths().to_numpy()
    index = column.flatten().to_numpy()
    return np.repeat(np.arange(len(column)), lengths), row_of_index[index]
