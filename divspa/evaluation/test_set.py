"""The test split of a day as questions to a model, and the answers: ranks of the test events, lists, exposure."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import date

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from scipy import sparse

from divspa.arrow import list_column, matrix
from divspa.config import Config
from divspa.errors import MissingTableError
from divspa.evaluation.metrics import (
    accuracy,
    all_finite,
    diversity,
    exposure,
    intra_list_distance,
    slices,
    unit_values,
)
from divspa.evaluation.ranking import rank_users
from divspa.evaluation.scorers import ByFusion, ByVectors, ByWeights, Scorer
from divspa.features.settings import places
from divspa.lake.tables import Lake
from divspa.lake.training_split import drawn_users
from divspa.linear.recommend import Weights
from divspa.linear.train import LINEAR
from divspa.publishing.channels import Channel
from divspa.schemas import EXAMPLES, ITEM_EMBEDDINGS, ITEM_FEATURES, ITEM_NEIGHBOURS, USER_EMBEDDINGS, USER_FEATURES
from divspa.schemas.vocabulary import FIRST_INDEX

SCORES_AT_ONCE = 16_000_000
RANKED = "user_key bigint, train_items int, asked array<int>, ranks array<int>, top array<int>"
POPULARITY, RANDOM = "popularity", "random"


@dataclass(frozen=True)
class Ranking:
    """How a model answered T test events: arrays on the driver, 32 bytes an event, in one order for all models.

    `rank_T` counts from 0, and is the size of the catalogue for an item outside it;
    `train_items_T` is how many distinct items the user had. `lists_SK` holds the best catalogue rows of the users of
    TestSet.shown_S, which -1 pads.
    """

    model: str
    user_key_T: NDArray[np.int64]
    event_T: NDArray[np.int32]
    item_index_T: NDArray[np.int32]
    rank_T: NDArray[np.int32]
    popularity_T: NDArray[np.int64]
    train_items_T: NDArray[np.int32]
    lists_SK: NDArray[np.int32]


@dataclass(frozen=True)
class TestSet:
    """What is asked. `questions` has one row a user with test events: user_key, asked, clicked, had, train_items.

    `had` is what the user had before the cutoff, and `clicked` what of it is left out of lists.

    Catalogue item row n has index `index_N` and `popularity_N` training clicks, and in each field `values` of length 1.
    Lists are kept of the S users `shown_S`, ascending, drawn by a hash of their key, so mostly the same ones every day.
    """

    __test__ = False  # nothing for pytest to collect

    lake: Lake
    ds: date
    ks: tuple[int, ...]
    diversity_ks: tuple[int, ...]
    questions: DataFrame
    index_N: NDArray[np.int64]
    popularity_N: NDArray[np.int64]
    values: dict[str, sparse.csr_array]
    shown_S: NDArray[np.int64]

    @classmethod
    def of(cls, lake: Lake, config: Config, ds: date) -> "TestSet":
        """Read the day's test split, of about `evaluation.users` users. Raises MissingTableError when there is none."""
        evaluation, test = config.evaluation, lake.read_day(EXAMPLES, ds).where("split = 'test'")
        if evaluation.drop_seen:
            test = test.where("NOT seen")
        if evaluation.events:
            test = test.where(F.col("event").isin(*evaluation.events))
        users = test.select("user_key").distinct().count()
        if not users:
            raise MissingTableError(
                f"The table examples has no test events on {ds}", remedy="mend `split` in the configuration"
            )
        if evaluation.users is not None and users > evaluation.users:
            test = test.where(drawn_users("test", evaluation.users / users))
        asked = test.groupBy("user_key").agg(F.array_sort(F.collect_list("item_index")).alias("asked"))
        had = lake.read_day(USER_FEATURES, ds, as_of="cutoff").select(
            "user_key", "clicked", F.col("clicked").alias("had"), F.size("clicked").alias("train_items")
        )
        if not evaluation.drop_seen:
            had = had.withColumn("clicked", F.array().cast("array<int>"))
        questions = asked.join(had, "user_key").persist()
        drawn = questions.select("user_key").orderBy(F.xxhash64("user_key", F.lit("sample")), "user_key")
        shown_S = np.sort(drawn.limit(evaluation.diversity_users).toArrow()["user_key"].to_numpy())
        items = lake.read_day(ITEM_FEATURES, ds).select("item_index", "popularity", "item_features")
        items = items.orderBy("item_index").toArrow()
        index_N, popularity_N = (items[name].to_numpy() for name in ("item_index", "popularity"))
        codes_NW = matrix(items["item_features"].combine_chunks()) if config.item_fields else np.zeros((len(items), 0))
        coded = {field.name for field in config.item_fields if field.kind != "vector"}
        values = {
            name: unit_values(codes_NW[:, place]) for name, place in places(config.item_fields).items() if name in coded
        }
        ks = evaluation.ks, evaluation.diversity_ks
        return cls(lake, ds, *ks, questions, index_N, popularity_N, values, shown_S)

    @property
    def longest(self) -> int:
        """How many of the best items are needed to measure everything."""
        return max(*self.ks, *self.diversity_ks)

    def close(self) -> None:
        """Let go of the questions."""
        self.questions.unpersist()

    def rank(self, channel: Channel, depth: int = 0) -> Ranking:
        """Rank by what one model has in the lake, or by the lists of several, fused of `depth` items each."""
        users, parts = self.questions, []
        for model in channel.models:
            if model == LINEAR:
                parts.append(self._by_weights())
            else:
                users = users.join(self._vectors_of_users(model), "user_key")
                parts.append(self._by_vectors(model))
        scorer = ByFusion(tuple(parts), channel.weights, depth) if channel.is_fused else parts[0]
        return self._rank(channel.name, users, scorer)

    def _vectors_of_users(self, model: str) -> DataFrame:
        rows = self.lake.read_day(USER_EMBEDDINGS, self.ds, model=model, as_of="cutoff")
        return rows.select("user_key", F.col("vector").alias(model))

    def _by_vectors(self, model: str) -> ByVectors:
        items = self.lake.read_day(ITEM_EMBEDDINGS, self.ds, model=model).orderBy("item_index").select("vector")
        return ByVectors(matrix(items.toArrow()["vector"].combine_chunks()), model)

    def _by_weights(self) -> ByWeights:
        neighbours = self.lake.read_day(ITEM_NEIGHBOURS, self.ds)
        weights = Weights.read(neighbours, size=int(self.index_N.max()) + 1)
        return ByWeights(Weights(weights.rows_VV[:, self.index_N]), self.popularity_N)

    def by_index(self) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """By item index: the training clicks, and whether it is in the catalogue [V]."""
        popularity_V = np.zeros(int(self.index_N.max()) + 1, np.int64)
        popularity_V[self.index_N] = self.popularity_N
        return popularity_V, np.isin(np.arange(len(popularity_V)), self.index_N)

    def rank_popularity(self) -> Ranking:
        """Rank everyone by the training clicks of an item: the bar that any model must pass."""
        users = self.questions.withColumn("vector", F.array(F.lit(1.0).cast("float")))
        return self._rank(POPULARITY, users, ByVectors(self.popularity_N.astype(np.float32)[:, None]))

    def rank_random(self, like: Ranking, seed: int) -> Ranking:
        """A shuffled catalogue for everyone, on the events of another ranking: the bar of diversity.

        The place of an item in such a list is as likely as any other among those that the user had not.
        """
        rng, items = np.random.default_rng(seed), len(self.index_N)
        places_T = np.maximum(items - like.train_items_T, 1)
        known_T = np.isin(like.item_index_T, self.index_N)
        rank_T = np.where(known_T, rng.integers(0, places_T), items).astype(np.int32)
        width = min(self.longest, items)
        lists_SK = np.array([rng.choice(items, width, replace=False) for _ in self.shown_S], np.int32)
        return replace(like, model=RANDOM, rank_T=rank_T, lists_SK=lists_SK)

    def rank_lists(self, model: str, asked: pa.Table, lists_UK: NDArray[np.int32]) -> Ranking:
        """Rank by ready lists of item indices, best first and padded with 0, of the users in ascending order.

        `asked` has a row a test event in order: user_key, event, item_index, train_items. What is not in a user's list
        ranks last.
        """
        user_key_T, event_T, asked_T, train_items_T = (
            asked[name].to_numpy() for name in ("user_key", "event", "item_index", "train_items")
        )
        users_U, user_T = np.unique(user_key_T, return_inverse=True)
        found_TK = (lists_UK[user_T] == asked_T[:, None]) & (asked_T >= FIRST_INDEX)[:, None]
        rank_T = np.where(found_TK.any(1), found_TK.argmax(1), len(self.index_N)).astype(np.int32)
        row_of = row_of_index(self.index_N)
        lists_SK = row_of[lists_UK[np.searchsorted(users_U, self.shown_S)]].astype(np.int32)
        popularity_T = self._popularity_of(asked_T)
        return Ranking(model, user_key_T, event_T, asked_T, rank_T, popularity_T, train_items_T, lists_SK)

    def _popularity_of(self, items_T: NDArray[np.int32]) -> NDArray[np.int64]:
        popularity_V = np.zeros(int(max(self.index_N.max(), items_T.max())) + 1, np.int64)
        popularity_V[self.index_N] = self.popularity_N
        return popularity_V[items_T]

    def _rank(self, model: str, users: DataFrame, scorer: Scorer) -> Ranking:
        ranked = rank_questions(users, scorer, self.index_N, self.shown_S, self.longest).persist()
        both = F.posexplode(F.arrays_zip("asked", "ranks")).alias("event", "it")
        events = ranked.select("user_key", "train_items", both).select("*", "it.asked", "it.ranks").drop("it")
        events = events.toArrow().sort_by([("user_key", "ascending"), ("event", "ascending")])
        lists = ranked.where(F.size("top") > 0).select("user_key", "top").toArrow().sort_by("user_key")
        ranked.unpersist()
        asked_T = events["asked"].to_numpy()
        names = "user_key", "event", "ranks", "train_items"
        user_key_T, event_T, rank_T, train_items_T = (events[name].to_numpy() for name in names)
        popularity_T = self._popularity_of(asked_T)
        lists_SK = matrix(lists["top"].combine_chunks())
        return Ranking(model, user_key_T, event_T, asked_T, rank_T, popularity_T, train_items_T, lists_SK)

    def exposures(self, ranking: Ranking) -> dict[int, NDArray[np.int64]]:
        """For each k of diversity how often each catalogue item stands in a top k [N]."""
        return {k: exposure(ranking.lists_SK, k, len(self.index_N)) for k in self.diversity_ks}

    def list_of(self, ranking: Ranking, user: int, length: int) -> NDArray[np.int64]:
        """The item indices of the first places of one user of shown_S."""
        rows = ranking.lists_SK[np.searchsorted(self.shown_S, user), :length]
        return self.index_N[rows[rows >= 0]]

    def metrics(self, ranking: Ranking) -> dict[tuple[str, str], float]:
        """Every figure of a ranking by slice and metric; the slice `all` has the diversity too. None may be NaN."""
        parts = slices(ranking.popularity_T, ranking.train_items_T, self.popularity_N)
        figures = {
            (name, metric): value
            for name, chosen_T in parts.items()
            if chosen_T.any()
            for metric, value in accuracy(ranking.rank_T[chosen_T], ranking.user_key_T[chosen_T], self.ks).items()
        }
        figures |= {(name, "events"): float(chosen_T.sum()) for name, chosen_T in parts.items()}
        for k, exposure_N in self.exposures(ranking).items():
            shown = diversity(exposure_N, self.popularity_N, k)
            for name, values_NC in self.values.items():
                shown[f"distance_{name}@{k}"] = intra_list_distance(ranking.lists_SK, k, values_NC)
            figures |= {("all", metric): value for metric, value in shown.items()}
        return all_finite(figures)


def rank_questions(questions: DataFrame, scorer: Scorer, index_N: np.ndarray, shown_S: np.ndarray, k: int) -> DataFrame:
    """Rank the catalogue for every user, a block at a time.

    One row a user: ranks of the asked items, and for the shown users the best k catalogue rows, padded with -1.
    """
    shared = questions.sparkSession.sparkContext.broadcast((scorer, row_of_index(index_N)))
    block = max(1, SCORES_AT_ONCE // len(index_N))

    def rank_batches(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        score, row_of = shared.value
        for batch in batches:
            for start in range(0, batch.num_rows, block):
                part = batch.slice(start, block)
                asked, clicked = (_pairs(part.column(name), row_of) for name in ("asked", "clicked"))
                shown_U = np.isin(part.column("user_key").to_numpy(), shown_S)
                ranked = rank_users(score(part, clicked), clicked, asked, shown_U, k)
                offsets = np.r_[0, np.cumsum(part.column("asked").value_lengths().to_numpy())]
                ranks = list_column(ranked.ranks_T.astype(np.int32), offsets)
                asis = [part.column(name) for name in ("user_key", "train_items", "asked")]
                ends_U = np.cumsum(shown_U) * ranked.top_SK.shape[1]
                top = list_column(ranked.top_SK.astype(np.int32).ravel(), np.r_[0, ends_U])
                columns = [*asis, ranks, top]
                yield pa.RecordBatch.from_arrays(columns, ["user_key", "train_items", "asked", "ranks", "top"])

    wanted = questions.select("user_key", *scorer.reads, "asked", "clicked", "train_items")
    return wanted.mapInArrow(rank_batches, RANKED)


def row_of_index(index_N: np.ndarray) -> np.ndarray:
    """The catalogue row of each item index, -1 for an index outside the catalogue."""
    row_of = np.full(int(index_N.max()) + 1, -1, np.int64)
    row_of[index_N] = np.arange(len(index_N))
    return row_of


def _pairs(column: pa.ListArray, row_of: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A list column of item indices as (row, catalogue row) pairs; -1 for an item outside the catalogue."""
    lengths = column.value_lengths().to_numpy()
    index = column.flatten().to_numpy()
    return np.repeat(np.arange(len(column)), lengths), row_of[index]
