"""The test split of a day as questions to a model, and the answers: ranks of the test events, lists, exposure."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from divspa.arrow import list_column, matrix
from divspa.config import Evaluation
from divspa.errors import MissingTableError
from divspa.evaluation.metrics import accuracy, diversity, slices
from divspa.evaluation.ranking import rank_users
from divspa.lake.tables import Lake
from schemas import EXAMPLES, ITEM_EMBEDDINGS, ITEM_FEATURES, USER_EMBEDDINGS, USER_FEATURES
from schemas.vocabulary import FIRST_INDEX

SCORES_AT_ONCE = 16_000_000
RANKED = "user_key bigint, train_items int, asked array<int>, ranks array<int>, top array<int>"
POPULARITY = "popularity"


@dataclass(frozen=True)
class Ranking:
    """How a model answered T test events: arrays on the driver, 32 bytes an event, in one order for all models.

    `rank_T` counts from 0, and is the size of the catalogue for an item outside it, whose popularity is 0;
    `train_items_T` is how many distinct items the user had; `exposures` counts for each k how often each of the N
    catalogue items stands in a top k. `lists` holds the item indices of the longest list, best first, of the users of
    TestSet.sample.
    """

    model: str
    user_key_T: NDArray[np.int64]
    event_T: NDArray[np.int32]
    item_index_T: NDArray[np.int32]
    rank_T: NDArray[np.int32]
    popularity_T: NDArray[np.int64]
    train_items_T: NDArray[np.int32]
    exposures: dict[int, NDArray[np.int64]]
    lists: dict[int, NDArray[np.int64]] = field(default_factory=dict)


@dataclass(frozen=True)
class TestSet:
    """What is asked. `questions` has one row a user with test events: user_key, asked, clicked and train_items.

    Catalogue item row n has index `index_N` and `popularity_N` training clicks. `sample` has the user_key of a few
    users, drawn by a hash, whose lists are kept to be looked at.
    """

    __test__ = False  # nothing for pytest to collect

    lake: Lake
    ds: date
    ks: tuple[int, ...]
    questions: DataFrame
    index_N: NDArray[np.int64]
    popularity_N: NDArray[np.int64]
    sample: tuple[int, ...] = ()

    @classmethod
    def of(cls, lake: Lake, evaluation: Evaluation, ds: date, *, sample: int = 0) -> "TestSet":
        """Read the day's test split, and draw so many users. Raises MissingTableError when there is none."""
        test = lake.read_day(EXAMPLES, ds, split="test")
        if evaluation.drop_seen:
            test = test.where("NOT seen")
        if test.isEmpty():
            raise MissingTableError(
                f"The table examples has no test events on {ds}", remedy="mend `split` in the configuration"
            )
        asked = test.groupBy("user_key").agg(F.array_sort(F.collect_list("item_index")).alias("asked"))
        had = lake.read_day(USER_FEATURES, ds, as_of="cutoff").select(
            "user_key", "clicked", F.size("clicked").alias("train_items")
        )
        if not evaluation.drop_seen:
            had = had.withColumn("clicked", F.array().cast("array<int>"))
        items = lake.read_day(ITEM_FEATURES, ds).select("item_index", "popularity").orderBy("item_index").toArrow()
        index_N, popularity_N = (items[name].to_numpy() for name in ("item_index", "popularity"))
        questions = asked.join(had, "user_key").persist()
        drawn = questions.select("user_key").orderBy(F.xxhash64("user_key", F.lit("sample")), "user_key")
        users = tuple(row["user_key"] for row in drawn.take(sample)) if sample else ()
        return cls(lake, ds, evaluation.ks, questions, index_N, popularity_N, users)

    def close(self) -> None:
        """Let go of the questions."""
        self.questions.unpersist()

    def rank_model(self, model: str) -> Ranking:
        """Rank by the embeddings that a model has in the lake."""
        items = self.lake.read_day(ITEM_EMBEDDINGS, self.ds, model=model).orderBy("item_index").select("vector")
        users = self.lake.read_day(USER_EMBEDDINGS, self.ds, model=model, as_of="cutoff").select("user_key", "vector")
        vectors_ND = matrix(items.toArrow()["vector"].combine_chunks())
        return self._rank(model, self.questions.join(users, "user_key"), vectors_ND)

    def rank_popularity(self) -> Ranking:
        """Rank everyone by the training clicks of an item: the bar that any model must pass."""
        users = self.questions.withColumn("vector", F.array(F.lit(1.0).cast("float")))
        return self._rank(POPULARITY, users, self.popularity_N.astype(np.float32)[:, None])

    def rank_lists(self, model: str, asked: pa.Table, lists_UK: NDArray[np.int32]) -> Ranking:
        """Rank by ready lists of item indices, best first and padded with 0, of the users in ascending order.

        `asked` has a row a test event in order: user_key, event, item_index, train_items. What is not in a user's list
        ranks last.
        """
        user_key_T, event_T, asked_T, train_items_T = (
            asked[name].to_numpy() for name in ("user_key", "event", "item_index", "train_items")
        )
        _, user_T = np.unique(user_key_T, return_inverse=True)
        found_TK = (lists_UK[user_T] == asked_T[:, None]) & (asked_T >= FIRST_INDEX)[:, None]
        rank_T = np.where(found_TK.any(1), found_TK.argmax(1), len(self.index_N)).astype(np.int32)
        exposures = {}
        for k in self.ks:
            shown = np.bincount(lists_UK[:, :k].ravel(), minlength=int(self.index_N.max()) + 1)
            exposures[k] = shown[self.index_N]
        popularity_T = self._popularity_of(asked_T)
        return Ranking(model, user_key_T, event_T, asked_T, rank_T, popularity_T, train_items_T, exposures)

    def _popularity_of(self, items_T: NDArray[np.int32]) -> NDArray[np.int64]:
        popularity_V = np.zeros(int(max(self.index_N.max(), items_T.max())) + 1, np.int64)
        popularity_V[self.index_N] = self.popularity_N
        return popularity_V[items_T]

    def _rank(self, model: str, users: DataFrame, vectors_ND: NDArray[np.float32]) -> Ranking:
        ranked = rank_questions(users, vectors_ND, self.index_N, max(self.ks)).persist()
        both = F.posexplode(F.arrays_zip("asked", "ranks")).alias("event", "it")
        events = ranked.select("user_key", "train_items", both).select("*", "it.asked", "it.ranks").drop("it")
        events = events.toArrow().sort_by([("user_key", "ascending"), ("event", "ascending")])
        shown = ranked.select(F.posexplode("top").alias("place", "row")).where("row >= 0")
        counts = [F.count_if(F.col("place") < k).alias(str(k)) for k in self.ks]
        counts = shown.groupBy("row").agg(*counts).toArrow()
        exposures = {k: np.zeros(len(self.index_N), np.int64) for k in self.ks}
        for k, exposure_N in exposures.items():
            exposure_N[counts["row"].to_numpy()] = counts[str(k)].to_numpy()
        lists = self._sampled_lists(ranked) if self.sample else {}
        ranked.unpersist()
        asked_T = events["asked"].to_numpy()
        names = "user_key", "event", "ranks", "train_items"
        user_key_T, event_T, rank_T, train_items_T = (events[name].to_numpy() for name in names)
        popularity_T = self._popularity_of(asked_T)
        return Ranking(model, user_key_T, event_T, asked_T, rank_T, popularity_T, train_items_T, exposures, lists)

    def _sampled_lists(self, ranked: DataFrame) -> dict[int, NDArray[np.int64]]:
        sampled = ranked.where(F.col("user_key").isin(*self.sample)).select("user_key", "top").collect()
        rows = {row["user_key"]: np.array(row["top"]) for row in sampled}
        return {user: self.index_N[row_K[row_K >= 0]] for user, row_K in rows.items()}

    def metrics(self, ranking: Ranking) -> dict[tuple[str, str], float]:
        """Every figure of a ranking by slice and metric; the slice `all` has the diversity too."""
        parts = slices(ranking.popularity_T, ranking.train_items_T, self.popularity_N)
        figures = {
            (name, metric): value
            for name, chosen_T in parts.items()
            if chosen_T.any()
            for metric, value in accuracy(ranking.rank_T[chosen_T], ranking.user_key_T[chosen_T], self.ks).items()
        }
        figures |= {(name, "events"): float(chosen_T.sum()) for name, chosen_T in parts.items()}
        for k, exposure_N in ranking.exposures.items():
            shown = diversity(exposure_N, self.popularity_N, k)
            figures |= {("all", metric): value for metric, value in shown.items()}
        return figures


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
                asis = [part.column(name) for name in ("user_key", "train_items", "asked")]
                columns = [*asis, ranks, list_column(ranked.top_UK.astype(np.int32))]
                yield pa.RecordBatch.from_arrays(columns, ["user_key", "train_items", "asked", "ranks", "top"])

    wanted = questions.select("user_key", "vector", "asked", "clicked", "train_items")
    return wanted.mapInArrow(rank_batches, RANKED)


def _pairs(column: pa.ListArray, row_of_index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A list column of item indices as (row, catalogue row) pairs; -1 for an item outside the catalogue."""
    lengths = column.value_lengths().to_numpy()
    index = column.flatten().to_numpy()
    return np.repeat(np.arange(len(column)), lengths), row_of_index[index]
