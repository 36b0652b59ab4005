"""From clicks to positives with histories, and to what is known of each user."""

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from divspa.config import Features
from divspa.features.histories import with_history
from divspa.features.split import FOREVER, with_validation
from schemas.vocabulary import FIRST_INDEX, ITEM_FIELD, UNKNOWN


def with_item_index(clicks: DataFrame, vocabulary: DataFrame) -> DataFrame:
    """Add item_index; an item outside the vocabulary, which holds training items only, gets UNKNOWN."""
    items = vocabulary.where(F.col("field") == ITEM_FIELD).select(F.col("value").alias("item_id"), "index")
    joined = clicks.join(items, "item_id", "left")
    return joined.withColumn("item_index", F.coalesce("index", F.lit(UNKNOWN))).drop("index")


def user_events(clicks: DataFrame) -> DataFrame:
    """Clicks as history events: one row a click on an item of the vocabulary."""
    known = clicks.where(F.col("item_index") >= FIRST_INDEX)
    return known.select("user_key", F.col("clicked_at").alias("at"), "tie_break", "item_index")


def positives(clicks: DataFrame, settings: Features) -> DataFrame:
    """The clicks to learn from or to test on.

    One row a user, item and instant, or a user, item and split with `repeats: first`.

    `at` is the moment up to which the user's history may be seen: the click itself in training, the cutoff in test.
    """
    pair = Window.partitionBy("user_key", "item_id")
    nth = F.row_number().over(Window.partitionBy("user_key", "item_id", "split").orderBy("clicked_at", "tie_break"))
    seen = (F.col("split") == "test") & (F.min("clicked_at").over(pair) < F.col("cutoff"))
    rows = clicks.withColumns({"seen": seen, "nth": nth})
    if settings.repeats == "first":
        rows = rows.where(F.col("nth") == 1)
    learnable = (F.col("split") == "test") | (F.col("item_index") >= FIRST_INDEX)
    return rows.where(learnable).select(
        "split",
        F.xxhash64("user_id", "item_id", F.unix_micros("clicked_at")).alias("example_id"),
        "user_id",
        "user_key",
        "item_id",
        "item_index",
        "clicked_at",
        "seen",
        F.least("clicked_at", "cutoff").alias("at"),
    )


def build_examples(clicks: DataFrame, users: DataFrame, settings: Features, validation_events: int) -> DataFrame:
    """One row a positive, with the user's encoded fields and history; histories hold training clicks only."""
    train = clicks.where(F.col("split") == "train")
    asked = with_validation(positives(clicks, settings), clicks, validation_events)
    rows = with_history(asked, user_events(train), settings.history_length)
    return rows.drop("at").join(users.select("user_key", "user_features"), "user_key")


def user_states(clicks: DataFrame, users: DataFrame, settings: Features, as_of: str) -> DataFrame:
    """One row a user: encoded fields, history and the distinct items clicked, at the cutoff or at the day's end."""
    if as_of == "cutoff":
        ends = clicks.groupBy("user_key").agg(F.max("cutoff").alias("at"))
        clicks = clicks.where(F.col("split") == "train")
    else:
        ends = clicks.groupBy("user_key").agg(F.lit(FOREVER).alias("at"))
    events = user_events(clicks)
    clicked = events.groupBy("user_key").agg(F.array_sort(F.collect_set("item_index")).alias("clicked"))
    states = with_history(ends, events, settings.history_length).drop("at").join(clicked, "user_key", "left")
    nothing = F.array().cast("array<int>")
    return users.join(states, "user_key").withColumn("clicked", F.coalesce("clicked", nothing))
