"""Lists for users whom nobody knows: what most users of a segment click."""

from collections.abc import Sequence
from contextlib import ExitStack

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from divspa.features.settings import ColumnField, places
from divspa.lake.held import held
from divspa.schemas.vocabulary import FIRST_INDEX
from divspa.serving.settings import Recall

ALL = "{}"


def with_values(
    users: DataFrame, fields: Sequence[ColumnField], names: Sequence[str], vocabulary: DataFrame
) -> DataFrame:
    """Users of user_features with a column for each of these fields: its value as the log has it, null if unknown."""
    placed = places(fields)
    for name in names:
        values = vocabulary.where(F.col("field") == name).select(
            F.col("value").alias(name), F.col("index").alias("code")
        )
        known = users.withColumn("code", F.get("user_features", placed[name].start))
        users = known.join(F.broadcast(values.where(F.col("code") >= FIRST_INDEX)), "code", "left").drop("code")
    return users


def fallback_lists(till_written: ExitStack, users: DataFrame, items: DataFrame, settings: Recall) -> DataFrame:
    """The items that most users of each segment clicked, then those of all users.

    `users` has clicked (item_index of distinct items) and a column for each field of `segments`. Segments are those by
    the first field, by the first two, and so on, of `segment_users` at least, and one of all. `items` has item_index
    and item_id of what a list may hold. One row a segment, as in recall_fallback.
    """
    names, k = settings.segments, settings.items_per_user
    depths = F.array(*(_segment(names[:depth]) for depth in range(len(names) + 1)))
    members = users.select("clicked", F.explode(depths).alias("segment")).where("segment IS NOT NULL")
    sizes = members.groupBy("segment").agg(F.count("*").alias("users"))
    large = F.broadcast(sizes.where((F.col("users") >= settings.segment_users) | (F.col("segment") == ALL)))
    clicks = members.select("segment", F.explode("clicked").alias("item_index")).join(large, "segment")
    counts = clicks.groupBy("segment", "users", "item_index").count().join(F.broadcast(items), "item_index")
    place = F.row_number().over(Window.partitionBy("segment").orderBy(F.desc("count"), "item_index"))
    best = counts.select("*", place.alias("place")).where(F.col("place") <= k)
    one = F.struct("place", "item_id", (F.col("count") / F.col("users")).alias("share"))
    lists = best.groupBy("segment", "users").agg(F.sort_array(F.collect_list(one)).alias("of"))
    lists = held(till_written, lists.select("segment", "users", F.col("of.item_id").alias("own"), "of.share"))
    of_all = lists.where(F.col("segment") == ALL).select(F.col("own").alias("every"))
    more = F.slice(F.array_except("every", "own"), 1, k - F.size("own"))
    return lists.crossJoin(F.broadcast(of_all)).select(
        "segment",
        "users",
        F.concat("own", more).alias("item_ids"),
        F.concat("share", F.array_repeat(F.lit(0.0), F.size(more))).alias("scores"),
    )


def _segment(names: Sequence[str]) -> Column:
    """The values of these columns as one text, null where one of them is."""
    if not names:
        return F.lit(ALL)
    known = F.lit(True)
    for name in names:
        known &= F.col(f"`{name}`").isNotNull()
    return F.when(known, F.to_json(F.struct(*(F.col(f"`{name}`") for name in names))))
