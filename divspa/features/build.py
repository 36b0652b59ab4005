"""Stage `build_features`: a click log becomes sparse feature tables."""

from datetime import date

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from divspa.config import Config
from divspa.errors import InputError
from divspa.features.attributes import attribute_values, encode
from divspa.features.clicks import distinct_clicks, only_new, parse_clicks, quarantine, read_source
from divspa.features.examples import build_examples, user_states, with_item_index
from divspa.features.split import with_split
from divspa.features.vocabulary import count_items, count_values, index_values
from divspa.lake.tables import Lake
from schemas import CLICKS, CLICKS_QUARANTINE, EXAMPLES, ITEM_FEATURES, USER_FEATURES, VOCABULARY
from schemas.vocabulary import ITEM_FIELD


def build_features(lake: Lake, config: Config, ds: date) -> None:
    """Write clicks, clicks_quarantine, vocabulary, item_features, user_features and examples of one day.

    Raises InputError for a log that cannot be read, lacks a column, or has no clicks for the day; then nothing of the
    feature tables is written.
    """
    write_clicks(lake, config, ds)
    clicks = with_split(lake.read(CLICKS).where(F.col("ds") <= F.lit(ds)), config.split)
    clicks = clicks.withColumn("user_key", F.xxhash64("user_id")).persist()
    train = clicks.where(F.col("split") == "train")
    if train.isEmpty():
        raise InputError(
            "No click lies before the cutoff, so there is nothing to learn from",
            found=f"the first click at {clicks.agg(F.min('clicked_at')).first()[0]}",  # pyright: ignore[reportOptionalSubscript]
            remedy="mend `split` in the configuration, or choose a later day",
        )
    values = attribute_values(lake.spark, config.users, clicks.select("user_id").distinct(), ds)
    write_vocabulary(lake, config, ds, train, values)
    vocabulary = lake.read_day(VOCABULARY, ds)
    lake.replace_day(ITEM_FEATURES, item_features(lake, config, ds, vocabulary), ds)
    users = encode(values, config.user_fields, vocabulary, "user_features")
    users = users.withColumn("user_key", F.xxhash64("user_id")).persist()
    indexed = with_item_index(clicks, vocabulary).persist()
    for as_of in ("cutoff", "latest"):
        lake.replace_day(USER_FEATURES, user_states(indexed, users, config.features, as_of), ds, as_of=as_of)
    lake.replace_day(EXAMPLES, build_examples(indexed, users, config.features, config.split.validation_events), ds)
    for frame in (clicks, users, indexed):
        frame.unpersist()


def write_clicks(lake: Lake, config: Config, ds: date) -> None:
    """Write the day's new clicks, and what had to be refused."""
    parsed = parse_clicks(read_source(lake.spark, config.clicks, ds), config.clicks).persist()
    clicks = distinct_clicks(parsed, ds).persist()
    fresh = clicks
    if lake.exists(CLICKS):
        earlier = lake.read(CLICKS).where(F.col("ds") < F.lit(ds))
        if not earlier.isEmpty():
            fresh = only_new(clicks, earlier, config.features.late_days)
    if fresh.isEmpty():
        raise InputError(
            f"The click log {config.clicks.path} has no new clicks for {ds}",
            found=_found(parsed),
            remedy="check the day, `clicks.positive` and the time unit, or wait until the log has arrived",
        )
    lake.replace_day(CLICKS, fresh, ds)
    lake.replace_day(CLICKS_QUARANTINE, quarantine(parsed, clicks.where("copies > 1")), ds)
    parsed.unpersist()
    clicks.unpersist()


def write_vocabulary(lake: Lake, config: Config, ds: date, train: DataFrame, user_values: DataFrame) -> None:
    """Write the vocabulary of what was clicked, and of who clicked, before the cutoff."""
    previous = None
    if lake.exists(VOCABULARY):
        earlier = lake.read(VOCABULARY).where(F.col("ds") < F.lit(ds))
        newest = earlier.agg(F.max("ds")).first()[0]  # pyright: ignore[reportOptionalSubscript]
        previous = None if newest is None else earlier.where(F.col("ds") == F.lit(newest))
    items = train.select("item_id").distinct()
    item_values = attribute_values(lake.spark, config.items, items, ds)
    trained_users = user_values.join(train.select("user_id").distinct(), "user_id", "left_semi")
    trained_users = trained_users.withColumn("user_id", F.array("user_id"))
    counts = [
        count_items(train, config.features.item_min_count),
        *count_values(trained_users, config.user_fields),
        *count_values(item_values, config.item_fields),
    ]
    lake.replace_day(VOCABULARY, index_values(counts, previous), ds)


def item_features(lake: Lake, config: Config, ds: date, vocabulary: DataFrame) -> DataFrame:
    """The encoded catalogue. One row an item of the vocabulary."""
    catalogue = vocabulary.where(F.col("field") == ITEM_FIELD).select(
        F.col("value").alias("item_id"), F.col("index").alias("item_index"), F.col("count").alias("popularity")
    )
    values = attribute_values(lake.spark, config.items, catalogue.select("item_id"), ds)
    encoded = encode(values, config.item_fields, vocabulary, "item_features")
    return encoded.join(catalogue, "item_id")


def _found(parsed: DataFrame) -> str:
    total, refused, first, last = parsed.agg(
        F.count("*"), F.count("reason"), F.min("clicked_at"), F.max("clicked_at")
    ).first()  # pyright: ignore[reportGeneralTypeIssues]
    return f"{total} positive rows, {refused} of them unusable, from {first} to {last}"
