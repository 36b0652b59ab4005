"""Recall lists of users from the published channel: one model's, or those of several fused."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from divspa.arrow import list_column, lists_of
from divspa.errors import GateError
from divspa.lake.tables import Lake
from divspa.linear.recommend import Weights, recommend
from divspa.linear.train import LINEAR
from divspa.publishing.channels import Channel
from divspa.publishing.fusion import fuse_lists
from divspa.retrieval import search
from divspa.schemas import CHANNELS, ITEM_EMBEDDINGS, ITEM_FEATURES, ITEM_NEIGHBOURS, USER_EMBEDDINGS, USER_FEATURES

LISTS = "id bigint, ids array<int>, scores array<float>, sources array<string>"


@dataclass(frozen=True)
class Published:
    """The channel that `evaluate` chose, its version, and the model with vectors that items and users are found by."""

    channel: Channel
    version: str
    tower: str

    @classmethod
    def of(cls, lake: Lake, ds: date) -> "Published":
        """From the table channels. Raises MissingTableError before `evaluate`, GateError for a day held back."""
        rows = lake.read_day(CHANNELS, ds).collect()
        own = next((row for row in rows if row["published"]), None)
        if own is None:
            raise GateError(
                f"No channel of {ds} is published",
                found="; ".join(row["reason"] for row in rows if row["reason"]),
                remedy="look at the day's report; `publishing.max_drop` says how far a day may fall",
            )
        channel = Channel(tuple(own["models"]), tuple(own["weights"]))
        towers = [row for row in rows if len(row["models"]) == 1 and row["channel"] != LINEAR]
        heaviest = sorted(zip(channel.weights, channel.models, strict=True), reverse=True)
        of_channel = [model for _, model in heaviest if model != LINEAR]
        best = max(towers, key=lambda row: row["valid"] or 0.0)["channel"]
        return cls(channel, own["model_version"], (*of_channel, best)[0])


def user_lists(lake: Lake, ds: date, channel: Channel, items: DataFrame, k: int, depth: int) -> tuple[DataFrame, float]:
    """Lists of the day's end, without what a user clicked, and the recall of their search.

    One row a user: id BIGINT (user_key), ids ARRAY<INT> (item_index, of `items` alone), scores, best first, and
    sources, the models whose lists hold each item. Two models are fused of `depth` items each.
    """
    clicked = lake.read_day(USER_FEATURES, ds, as_of="latest").select("user_key", "clicked")
    wanted = depth if channel.is_fused else k
    found = [
        linear_lists(lake, ds, clicked, items, wanted)
        if model == LINEAR
        else nearest_lists(lake, ds, model, clicked, items, wanted)
        for model in channel.models
    ]
    recall = min(recall for _, recall in found)
    lists = [rows for rows, _ in found]
    return (fused(lists, channel, k) if channel.is_fused else with_source(lists[0], channel.name)), recall


def nearest_lists(
    lake: Lake, ds: date, model: str, clicked: DataFrame, items: DataFrame, k: int
) -> tuple[DataFrame, float]:
    """The items nearest to each user's vector."""
    users = lake.read_day(USER_EMBEDDINGS, ds, model=model, as_of="latest").join(clicked, "user_key")
    queries = users.select(F.col("user_key").alias("id"), "vector", F.col("clicked").alias("exclude"))
    vectors = lake.read_day(ITEM_EMBEDDINGS, ds, model=model).join(items.select("item_index"), "item_index")
    index = vectors.select(F.col("item_index").cast("bigint").alias("id"), "vector")
    found, report = search(queries, index, k)
    return of_indices(found), report.recall


def of_indices(found: DataFrame) -> DataFrame:
    """Lists of a search over item_index: id, ids ARRAY<INT> and scores ARRAY<FLOAT>."""
    return found.select("id", F.col("ids").cast("array<int>"), F.col("scores").cast("array<float>"))


def linear_lists(lake: Lake, ds: date, clicked: DataFrame, items: DataFrame, k: int) -> tuple[DataFrame, float]:
    """What the clicked items speak for most, filled up with what is popular."""
    listed = lake.read_day(ITEM_FEATURES, ds).join(items.select("item_index"), "item_index")
    popular = listed.orderBy(F.desc("popularity"), "item_index").select("item_index").toArrow()
    weights = Weights.read(lake.read_day(ITEM_NEIGHBOURS, ds), allowed=items)
    users = clicked.select(F.col("user_key").alias("id"), "clicked")
    return recommend(users, weights, k, popular_P=popular["item_index"].to_numpy()), 1.0


def with_source(lists: DataFrame, model: str) -> DataFrame:
    """Lists whose items are all of one model."""
    return lists.withColumn("sources", F.array_repeat(F.lit(model), F.size("ids")))


def fused(lists: Sequence[DataFrame], channel: Channel, k: int) -> DataFrame:
    """The best k by reciprocal rank of a channel's models' lists. One row a user that is in any of them."""
    parts = [rows.select("id", F.col("ids").alias(model)) for rows, model in zip(lists, channel.models, strict=True)]
    joined = parts[0]
    for part in parts[1:]:
        joined = joined.join(part, "id", "full")
    bits = range(1 << len(channel.models))
    names = pa.array(["+".join(m for place, m in enumerate(channel.models) if bit >> place & 1) for bit in bits])

    def fuse_batches(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in filter(len, batches):
            ids, scores_M, sources_M = fuse_lists(
                [lists_of(batch[model]) for model in channel.models], channel.weights, k
            )
            sources = pa.ListArray.from_arrays(
                pa.array(ids.offsets_N1.astype("int32")), names.take(pa.array(sources_M))
            )
            columns = [batch["id"], *(list_column(of, ids.offsets_N1) for of in (ids.values_M, scores_M)), sources]
            yield pa.RecordBatch.from_arrays(columns, ["id", "ids", "scores", "sources"])

    return joined.mapInArrow(fuse_batches, LISTS)
