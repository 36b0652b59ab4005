"""Stage `build_features`: a click log becomes sparse feature tables."""

from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import reduce

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from divspa.config import Config
from divspa.errors import InputError
from divspa.features.attributes import attribute_versions, newest
from divspa.features.clicks import LogCounts, gather, mark_known, new_clicks, parse_clicks, quarantine
from divspa.features.encoding import encode
from divspa.features.examples import build_examples, past_shape, user_states, user_timeline, with_item_index
from divspa.features.gates import Figure, pass_gates, unknown_rates, vocabulary_figures
from divspa.features.split import FOREVER, validation_share, with_split
from divspa.features.vocabulary import (
    copy_for,
    count_buckets,
    count_items,
    count_values,
    index_values,
    numeric_bounds,
    require_same_buckets,
)
from divspa.lake.source import read_source
from divspa.lake.tables import Lake
from schemas import CLICKS, CLICKS_QUARANTINE, EXAMPLES, ITEM_FEATURES, USER_FEATURES, VOCABULARY
from schemas.vocabulary import ITEM_FIELD

ABOUT_CLICKS = ("cutoff", "first_click", "train_clicks", "test_clicks", "train_instants")


def build_features(lake: Lake, config: Config, ds: date) -> None:
    """Write clicks, clicks_quarantine, vocabulary, item_features, user_features, examples and feature_gates of one day.

    Raises InputError for a log that cannot be read, lacks a column, or has no clicks for the day, and GateError when a
    gate fails; then nothing but feature_gates is written.
    """
    with ExitStack() as held, ExitStack() as to_the_end:
        rows = _held(to_the_end, read_log(lake, config, ds))
        counts = LogCounts.of(rows)
        lake.traffic.saw_rows("click_log", {"ds": ds}, counts.read)
        counts.require_new(config.clicks, ds)
        clicks = with_split(all_clicks(lake, new_clicks(rows), ds), config.split)
        clicks = clicks.withColumn("user_key", F.xxhash64("user_id"))
        people = _held(held, clicked_by(clicks))
        span = Span.of(people, ds)
        earlier = earlier_vocabulary(lake, ds)
        catalogue = _held(held, item_catalogue(clicks, earlier, config))
        items = item_attributes(lake, config, ds, catalogue, span.cutoff)
        users = attribute_versions(lake.spark, config.users, people, ds)
        bounds, fields = field_vocabulary(config, users, items, earlier)
        values = _held(to_the_end, catalogue.unionByName(fields))
        users = users.drop(*ABOUT_CLICKS)
        items = _held(held, encode(items, config.item_fields, values, bounds, "item_features"))
        users = _held(held, encode(users, config.user_columns, values, bounds, "user_features"))
        figures = [
            *log_figures(counts, span),
            *vocabulary_figures(values, config.features.gates.compare_from),
            *unknown_rates(items, "item_features", config.item_fields),
            *unknown_rates(newest_features(users), "user_features", config.user_columns),
        ]
        pass_gates(lake, ds, figures, config.features.gates)
        timeline = user_timeline(with_item_index(clicks, catalogue), users)
        shape = past_shape(config, items)
        validation = span.validation_share(config.split.validation_events)
        lake.replace_day(EXAMPLES, build_examples(timeline, shape, validation), ds, unique=True)
        lake.replace_day(USER_FEATURES, user_states(timeline, shape), ds, unique=True)
        lake.replace_day(ITEM_FEATURES, items, ds, unique=True)
        lake.replace_day(CLICKS_QUARANTINE, quarantine(rows), ds, unique=True)
        # Delta plans anew whatever is held of a table that it writes, so that is let go, and the rest comes last.
        held.close()
        lake.replace_day(VOCABULARY, copy_for(config.features.sequences, values), ds, unique=True)
        lake.replace_day(CLICKS, new_clicks(rows), ds, unique=True)


def read_log(lake: Lake, config: Config, ds: date) -> DataFrame:
    """The rows of the log up to the end of the day, judged. One row a distinct row (see `gather`), and `known`."""
    log = config.clicks
    rows = gather(parse_clicks(read_source(lake.spark, log, ds), log), ds, daily_file="{ds}" in log.path)
    if not lake.exists(CLICKS):
        return rows.withColumn("known", F.lit(False))
    return mark_known(rows, lake.read(CLICKS).where(F.col("ds") < F.lit(ds)), ds, config.features.late_days)


def all_clicks(lake: Lake, fresh: DataFrame, ds: date) -> DataFrame:
    """The clicks of this and all earlier days. One row a user, item and instant."""
    if not lake.exists(CLICKS):
        return fresh
    return lake.read(CLICKS).where(F.col("ds") < F.lit(ds)).select(fresh.columns).union(fresh)


def clicked_by(clicks: DataFrame) -> DataFrame:
    """Everyone who clicked. One row a user: cutoff, first click, clicks before the cutoff and later, about how many
    instants before it.
    """
    trained = F.col("split") == "train"
    return clicks.groupBy("user_id", "user_key").agg(
        F.max("cutoff").alias("cutoff"),
        F.min("clicked_at").alias("first_click"),
        F.count(F.when(trained, True)).alias("train_clicks"),
        F.count(F.when(~trained, True)).alias("test_clicks"),
        F.approx_count_distinct(F.when(trained, F.col("clicked_at"))).alias("train_instants"),
    )


@dataclass(frozen=True)
class Span:
    """How many users and clicks lie on either side of the cutoff; the newest cutoff, where users differ in theirs."""

    users: int
    trained_users: int
    train_clicks: int
    test_clicks: int
    train_instants: int
    cutoff: datetime

    @classmethod
    def of(cls, people: DataFrame, ds: date) -> "Span":
        """Raises InputError when no click lies before the cutoff."""
        own = F.when(F.col("cutoff") < F.lit(FOREVER), F.col("cutoff"))
        ends = F.unix_micros(F.max(own)), F.min("first_click").cast("string")
        sums = F.sum("train_clicks"), F.sum("test_clicks"), F.sum("train_instants"), *ends
        counts = F.count("*"), F.count_if(F.col("train_clicks") > 0)
        users, trained, train, test, instants, cutoff, first = people.agg(*counts, *sums).head()  # pyright: ignore[reportGeneralTypeIssues]
        if not train:
            raise InputError(
                "No click lies before the cutoff, so there is nothing to learn from",
                found=f"the first click at {first}",
                remedy="mend `split` in the configuration, or choose a later day",
            )
        day_end = datetime.combine(ds + timedelta(days=1), datetime.min.time(), UTC)
        newest = day_end if cutoff is None else datetime.fromtimestamp(0, UTC) + timedelta(microseconds=cutoff)
        return cls(users, trained, train, test, instants, newest)

    def validation_share(self, events: int) -> float:
        """The share of the users to hold out for about so many validation events."""
        return validation_share(self.train_clicks, self.train_instants, self.trained_users, events)


def earlier_vocabulary(lake: Lake, ds: date) -> DataFrame | None:
    """The vocabulary of the newest earlier day."""
    day = lake.newest_day_before(VOCABULARY, ds)
    return None if day is None else lake.read(VOCABULARY).where(F.col("ds") == F.lit(day))


def item_catalogue(clicks: DataFrame, earlier: DataFrame | None, config: Config) -> DataFrame:
    """The vocabulary of the items clicked before the cutoff, or on an earlier day."""
    train = clicks.where(F.col("split") == "train")
    known = None if earlier is None else earlier.where(F.col("field") == ITEM_FIELD)
    indexed = index_values(count_items(train, config.features.item_min_count), known)
    return indexed.withColumn("distinct", F.lit(None).cast("bigint"))


def item_attributes(lake: Lake, config: Config, ds: date, catalogue: DataFrame, cutoff: datetime) -> DataFrame:
    """The attributes of the catalogue as of the cutoff. One row an item: item_id, item_index, popularity, fields."""
    ids = catalogue.select(
        F.col("value").alias("item_id"), F.col("index").alias("item_index"), F.col("count").alias("popularity")
    )
    versions = attribute_versions(lake.spark, config.items, ids, ds)
    dated = config.items is not None and config.items.valid_from is not None
    return newest(versions, cutoff) if dated else versions.drop("valid_from")


def field_vocabulary(
    config: Config, users: DataFrame, items: DataFrame, earlier: DataFrame | None
) -> tuple[dict[str, list[float]], DataFrame]:
    """The bounds of numeric fields, and the vocabulary of all fields but item_id, from what held before the cutoff."""
    trained = users.where((F.col("train_clicks") > 0) & (F.col("valid_from") < F.col("cutoff")))
    sides = (trained, config.user_columns), (items, config.item_fields)
    bounds: dict[str, list[float]] = {}
    for rows, fields in sides:
        require_same_buckets(fields, earlier)
        bounds |= numeric_bounds(rows, fields, earlier)
    fixed = [
        field.name
        for field in config.user_columns + config.item_fields
        if field.kind == "numeric" or field.hash_buckets is not None
    ]
    apart = [ITEM_FIELD, *fixed, *(sequence.name for sequence in config.features.sequences)]
    known = None if earlier is None else earlier.where(~F.col("field").isin(apart))
    counted = reduce(DataFrame.unionByName, [count_values(rows, fields) for rows, fields in sides])
    vocabulary = index_values(counted, known).withColumn("distinct", F.lit(None).cast("bigint"))
    if fixed:
        buckets = reduce(DataFrame.unionByName, [count_buckets(rows, fields, bounds) for rows, fields in sides])
        vocabulary = vocabulary.unionByName(_with_previous_count(buckets, earlier))
    return bounds, vocabulary


def newest_features(users: DataFrame) -> DataFrame:
    """The encoded attributes that each user has at the end of the day. One row a user."""
    return users.groupBy("user_key").agg(F.max_by("user_features", "valid_from").alias("user_features"))


def log_figures(counts: LogCounts, span: Span) -> list[Figure]:
    """The figures of the day as a whole."""
    figures = {
        "new_clicks": counts.new,
        "refused_share": counts.refused / counts.read,
        "repeated_share": counts.repeated / counts.read,
        "users": span.users,
        "train_clicks": span.train_clicks,
        "test_clicks": span.test_clicks,
    }
    return [Figure(name, value) for name, value in figures.items()]


def _with_previous_count(buckets: DataFrame, earlier: DataFrame | None) -> DataFrame:
    if earlier is None:
        return buckets.withColumn("previous_count", F.lit(None).cast("bigint"))
    past = earlier.select("field", "value", F.col("count").alias("previous_count"))
    return buckets.join(past, ["field", "value"], "left")


def _held(stack: ExitStack, rows: DataFrame) -> DataFrame:
    """Keep rows in memory or on disk until the stage ends."""
    stack.callback(rows.unpersist)
    return rows.persist()
