"""Stage `build_features`: a click log becomes sparse feature tables."""

from contextlib import ExitStack
from dataclasses import replace
from datetime import date, datetime
from functools import partial, reduce

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from divspa.config import Config
from divspa.features.attributes import (
    VALID_FROM,
    AttributeTable,
    attribute_versions,
    newest,
    read_attributes,
)
from divspa.features.clicks import LogCounts, new_clicks, quarantine
from divspa.features.days import all_clicks, publish_clicks, read_log
from divspa.features.encoding import encode
from divspa.features.examples import (
    build_examples,
    past_shape,
    user_states,
    user_timeline,
    with_item_index,
    with_worth,
)
from divspa.features.figures import (
    attribute_figures,
    file_figures,
    log_figures,
    matched_shares,
    most_clicked,
    newest_features,
    unknown_rates,
    vocabulary_figures,
)
from divspa.features.gates import pass_gates
from divspa.features.split import HeldOutUsers, Span, clicked_by, with_split
from divspa.features.vocabulary import (
    copy_for,
    count_buckets,
    count_items,
    count_values,
    index_values,
    numeric_bounds,
    require_same_buckets,
    without_clicks,
)
from divspa.lake.held import held
from divspa.lake.tables import Lake
from divspa.progress import console
from divspa.schemas import ATTRIBUTES_QUARANTINE, CLICKS_QUARANTINE, EXAMPLES, ITEM_FEATURES, USER_FEATURES, VOCABULARY
from divspa.schemas.vocabulary import ITEM_FIELD
from divspa.sources.damage import Damage, read_whole, with_damaged
from divspa.sources.files import Files

# Lengths of histories, and from how many clicks of half of the users on the long one is chosen.
SHORT, USUAL, LONG, MANY_CLICKS = 10, 50, 200, 150
# What has left the vocabulary is counted once more beside the day before, and no more.
STAYS = "index IS NOT NULL"
ABOUT_CLICKS = ("cutoff", "first_click", "train_clicks", "test_clicks", "train_instants", "last_trained")


def build_features(lake: Lake, config: Config, ds: date) -> None:
    """Write clicks, the quarantines, vocabulary, item_features, user_features, examples and feature_gates of one day.

    Raises InputError for a log that cannot be read, lacks a column, or has no clicks for the day, and GateError when a
    gate fails; then nothing but feature_gates is written.
    """
    with ExitStack() as till_written, ExitStack() as to_the_end:
        files, rows, counts = read_whole(config.clicks, partial(_counted_log, to_the_end, lake, config, ds))
        lake.traffic.saw_rows("click_log", {"ds": ds}, counts.read)
        console.print(f"clicks: {counts}", highlight=False, soft_wrap=True)
        counts.require_new(config.clicks, ds)
        clicks = with_split(all_clicks(lake, new_clicks(rows), ds, config.features.window_days), config.split)
        clicks, capped = cap_users(clicks, config.features.max_user_clicks)
        clicks = clicks.withColumn("user_key", F.xxhash64("user_id"))
        people = held(till_written, clicked_by(clicks))
        span = Span.of(people, ds)
        by_time = config.split.by != "last" and config.clicks.has_times
        held_out = HeldOutUsers.of(people, span, config.split.validation_events, by_time=by_time)
        earlier = earlier_vocabulary(lake, ds)
        tables = {side: _read_attributes(till_written, lake, config, side, ds) for side in ("items", "users")}
        listed = tables["items"].known_before(span.cutoff) if tables["items"] else None
        counted = held(till_written, item_catalogue(clicks, listed, earlier, config, ds))
        catalogue = counted.where(STAYS)
        items = item_attributes(tables["items"], catalogue, span.cutoff)
        users = attribute_versions(tables["users"], people)
        matched = matched_shares(items, users, tables)
        bounds, fields = field_vocabulary(config, users, items, earlier, ds)
        counted = held(to_the_end, counted.drop("train_clicks").unionByName(fields))
        values = counted.where(STAYS)
        users = users.drop(*ABOUT_CLICKS)
        items = held(till_written, encode(items, config.item_fields, values, bounds, "item_features"))
        users = held(till_written, encode(users, config.user_columns, values, bounds, "user_features"))
        figures = [
            *log_figures(counts, span, most_clicked(catalogue), capped, config.features.gates.compare_from),
            *file_figures({"": files} | {side: table.files for side, table in tables.items() if table}),
            *attribute_figures(tables),
            *matched,
            *vocabulary_figures(counted, config.features.gates.compare_from),
            *unknown_rates(items, "item_features", config.item_fields),
            *unknown_rates(newest_features(users), "user_features", config.user_columns),
        ]
        pass_gates(lake, ds, figures, config.features.gates, because={"refused_share": counts.why_refused})
        timeline = user_timeline(with_worth(with_item_index(clicks, catalogue), config.clicks), users)
        length = config.features.history_length or kept_length(lake, ds) or chosen_length(people)
        console.print(f"histories: the last {length} clicks of each user", highlight=False)
        shape = past_shape(config, items, length)
        lake.replace_day(EXAMPLES, build_examples(timeline, shape, held_out, config.clicks.kinds), ds, unique=True)
        lake.replace_day(USER_FEATURES, user_states(timeline, shape), ds, unique=True)
        lake.replace_day(ITEM_FEATURES, items, ds)
        lake.replace_day(CLICKS_QUARANTINE, with_damaged(quarantine(rows), files), ds, unique=True)
        refused = [table.refused() for table in tables.values() if table is not None]
        if refused:
            lake.replace_day(ATTRIBUTES_QUARANTINE, reduce(DataFrame.unionByName, refused), ds, unique=True)
        # Delta plans anew whatever is held of a table that it writes, so that is let go, and the rest comes last.
        till_written.close()
        lake.replace_day(VOCABULARY, copy_for(config.features.sequences, values), ds)
        publish_clicks(lake, new_clicks(rows), ds)


def cap_users(clicks: DataFrame, most: int | None) -> tuple[DataFrame, int]:
    """The newest `most` clicks of each user on each side of the cutoff, and how many were left out; null keeps all."""
    if most is None:
        return clicks, 0
    newest_first = Window.partitionBy("user_id", "split").orderBy(F.desc("clicked_at"), "tie_break")
    numbered = clicks.withColumn("place", F.row_number().over(newest_first))
    left_out = numbered.where(F.col("place") > most).count()
    return numbered.where(F.col("place") <= most).drop("place"), left_out


def _counted_log(
    to_the_end: ExitStack, lake: Lake, config: Config, ds: date, damage: Damage
) -> tuple[Files | None, DataFrame, LogCounts]:
    log = read_log(lake, config, ds, damage)
    rows = held(to_the_end, log.rows)
    return log.files, rows, LogCounts.of(rows)


def _read_attributes(till_written: ExitStack, lake: Lake, config: Config, side: str, ds: date) -> AttributeTable | None:
    source = config.users if side == "users" else config.items
    if source is None:
        return None

    def read(damage: Damage) -> AttributeTable:
        table = read_attributes(lake.spark, source, side, ds, damage)
        table = replace(table, gathered=held(till_written, table.gathered))
        table.gathered.count()
        return table

    return read_whole(source, read)


def earlier_vocabulary(lake: Lake, ds: date) -> DataFrame | None:
    """The vocabulary of the newest earlier day."""
    day = lake.newest_day_before(VOCABULARY, ds)
    return None if day is None else lake.read(VOCABULARY).where(F.col("ds") == F.lit(day))


def kept_length(lake: Lake, ds: date) -> int | None:
    """The length of the histories of the newest earlier day: a model that goes on should see no other."""
    day = lake.newest_day_before(USER_FEATURES, ds)
    row = None if day is None else lake.read_day(USER_FEATURES, day).select(F.size("history")).head()
    return None if row is None else row[0]


def chosen_length(people: DataFrame) -> int:
    """How many past clicks are kept, from how many users have: more than nearly all have would be padding alone.

    Longer histories gained where half of the users have hundreds of clicks, and nothing elsewhere (docs/measured.md).
    """
    row = people.where("train_clicks > 0").agg(F.percentile_approx("train_clicks", [0.5, 0.99], 10_000)).head()
    median, nearly_all = row[0] if row is not None else (0, 0)
    return LONG if median >= MANY_CLICKS else min(USUAL, max(SHORT, nearly_all))


def item_catalogue(
    clicks: DataFrame, listed: DataFrame | None, earlier: DataFrame | None, config: Config, ds: date
) -> DataFrame:
    """The vocabulary of the items clicked before the cutoff and, unless clicks have a window, on an earlier day.

    With an `item_min_count` of 0 those `listed` by the items table, too.
    """
    train = clicks.where(F.col("split") == "train")
    known = None if earlier is None else earlier.where(F.col("field") == ITEM_FIELD)
    counts = count_items(train, config.features.item_min_count)
    if listed is not None and config.features.item_min_count == 0:
        counts = without_clicks(counts, listed)
    indexed = index_values(counts, known, ds, let_go=config.features.window_days is not None)
    return indexed.withColumn("distinct", F.lit(None).cast("bigint"))


def item_attributes(table: AttributeTable | None, catalogue: DataFrame, cutoff: datetime) -> DataFrame:
    """The attributes of the catalogue as of the cutoff.

    One row an item: item_id, item_index, popularity, train_clicks, fields.
    """
    names = {"value": "item_id", "index": "item_index", "count": "popularity"}
    ids = catalogue.withColumnsRenamed(names).select(*names.values(), "train_clicks")
    versions = attribute_versions(table, ids)
    return newest(versions, cutoff) if table is not None and table.dated else versions.drop(VALID_FROM)


def field_vocabulary(
    config: Config, users: DataFrame, items: DataFrame, earlier: DataFrame | None, ds: date
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
    vocabulary = index_values(counted, known, ds, let_go=config.features.window_days is not None)
    vocabulary = vocabulary.withColumn("distinct", F.lit(None).cast("bigint"))
    if fixed:
        buckets = reduce(DataFrame.unionByName, [count_buckets(rows, fields, bounds) for rows, fields in sides])
        buckets = _with_previous_count(buckets, earlier).withColumn("since", F.lit(None).cast("date"))
        vocabulary = vocabulary.unionByName(buckets)
    return bounds, vocabulary


def _with_previous_count(buckets: DataFrame, earlier: DataFrame | None) -> DataFrame:
    if earlier is None:
        return buckets.withColumn("previous_count", F.lit(None).cast("bigint"))
    past = earlier.select("field", "value", F.col("count").alias("previous_count"))
    return buckets.join(past, ["field", "value"], "left")
