"""What the training split knows of each user: all that is learned from, and nothing that is ranked by."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from divspa.features.settings import ClickLog

# A chance in so many parts.
PARTS = 1 << 20


def drawn_users(salt: str, share: float) -> Column:
    """Whether `user_key` is among this share of all, drawn by a hash: mostly the same ones while the share changes."""
    return F.pmod(F.xxhash64("user_key", F.lit(salt)), F.lit(PARTS)) < share * PARTS


def trained_clicks(users: DataFrame, examples: DataFrame) -> DataFrame:
    """user_key and clicked, less the split `valid`: nothing may learn from these, and none is known to the user yet.

    `users` are the day's rows of user_features as of the cutoff, `examples` those of the table examples.
    """
    valid = examples.where("split = 'valid'")
    held_out = valid.groupBy("user_key").agg(F.collect_set("item_index").alias("held_out"))
    kept = F.coalesce(F.array_except("clicked", "held_out"), "clicked")
    return users.join(F.broadcast(held_out), "user_key", "left").select("user_key", kept.alias("clicked"))


def held_out_clicks(examples: DataFrame, events: Sequence[str] = ()) -> DataFrame:
    """The rows of examples that a model is chosen by: of these kinds of events, where any are named, as the test's."""
    held_out = examples.where("split = 'valid'")
    return held_out.where(F.col("event").isin(*events)) if events else held_out


def newest_of(rows: pa.Table, share: float, log: ClickLog) -> pa.Table:
    """About this share of rows, the newest by `clicked_at`: what a user did long ago says less of what is next.

    All where a log knows no times: there no click is newer than another user's.
    """
    clicked_N = rows["clicked_at"].to_numpy()
    if share == 1 or not log.has_times or not len(clicked_N):
        return rows
    return rows.filter(clicked_N >= np.quantile(clicked_N, 1 - share, method="nearest"))


def counted_clicks(trained: DataFrame, pairs: DataFrame) -> DataFrame:
    """Add `counted` to `trained_clicks`: of the clicked items those that count where others learn from the user.

    Each does with a chance of its weight over the largest of the user's, drawn by a hash of user and item, so the same
    in every run; `pairs` are the training examples, with the weights.
    """
    weight = F.max(F.coalesce("weight", F.lit(1.0)))
    rows = pairs.groupBy("user_key", "item_index").agg(weight.alias("weight"))
    of_user = rows.groupBy("user_key").agg(
        F.map_from_entries(F.collect_list(F.struct("item_index", "weight"))).alias("weights"),
        F.max("weight").alias("largest"),
    )

    def counts(item: Column) -> Column:
        chance = F.coalesce(F.try_element_at("weights", item) / F.col("largest"), F.lit(1.0))
        return F.pmod(F.xxhash64("user_key", item, F.lit("counted")), F.lit(PARTS)) < chance * PARTS

    return trained.join(of_user, "user_key", "left").select(
        *trained.columns, F.filter("clicked", counts).alias("counted")
    )
