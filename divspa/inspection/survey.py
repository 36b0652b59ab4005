"""The data as a team looks at it before training: rows by day, users and items by activity, repeats, ties, matches."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from functools import partial

import numpy as np
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from divspa.config import Config
from divspa.features.attributes import AttributeTable, id_of, read_attributes
from divspa.features.clicks import judge, read_clicks
from divspa.features.settings import Attributes, ClickLog
from divspa.sources.damage import Damage, read_whole

# Repeats and ties are counted over the users of about so many clicks, attributes over about so many users or items.
COUNTED_APART = 1_000_000
MATCHED_APART = 100_000
# The bounds of the groups that users and items are in, by their clicks.
GROUPS = (1, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1000, 10_000)


@dataclass(frozen=True)
class Activity:
    """How many users or items have so many clicks, by group of GROUPS, and how many clicks these are."""

    count: int
    members: list[int]
    clicks: list[int]
    median: float
    most: int


@dataclass(frozen=True)
class Survey:
    """What a log holds. Shares are of the clicks but where said; `outcomes` counts rows by what becomes of them.

    `repeated` and `tied` are of some of the users where there are very many: the share of clicks whose user has clicked
    the item before, and of those that share user and instant with another one. `matched` and `missing` are of some of
    the users or items where there are very many.
    """

    clicks: int
    outcomes: dict[str, int]
    days: list[tuple[date, int]]
    users: Activity
    items: Activity
    repeated: float
    tied: float
    cutoff: datetime | None
    cold: float | None
    matched: dict[str, float] = field(default_factory=dict)
    missing: dict[str, float] = field(default_factory=dict)


def survey(spark: SparkSession, config: Config, ds: date) -> Survey:
    """Look through the whole log; ids travel as hashes, so that 25 million clicks fit in memory.

    Raises InputError and ConfigError as the feature job would.
    """
    rows, outcomes = read_whole(config.clicks, partial(_looked_through, spark, config.clicks, ds))
    clicks = rows.where("outcome IS NULL")
    total = outcomes.get("clicks", 0)
    hours = clicks.groupBy(F.date_trunc("hour", "at").alias("hour")).count().orderBy("hour").collect()
    cutoff = _cutoff(config, [(row["hour"], row["count"]) for row in hours], total)
    some = clicks.where(_one_in(max(1, total // COUNTED_APART), F.col("user")))
    apart = some.agg(F.count("*"), F.count_distinct("user", "item"), F.count_distinct("user", "at")).head()
    sampled, pairs, instants = apart or (0, 0, 0)
    users = _held(clicks.groupBy("user").agg(F.count("*").alias("n")))
    items = _held(clicks.groupBy("item").agg(F.count("*").alias("n"), F.min("at").alias("first")))
    cold = None
    if cutoff is not None:
        tested = clicks.where(F.col("at") >= F.lit(cutoff)).count()
        new = items.where(F.col("first") >= F.lit(cutoff)).agg(F.sum("n")).head()
        cold = ((new[0] if new is not None else 0) or 0) / max(tested, 1)
    active, clicked = _activity(users), _activity(items)
    matched, missing = {}, {}
    for side, counts, ids in (("users", users, active.count), ("items", items, clicked.count)):
        source = config.users if side == "users" else config.items
        if source is not None:
            every = max(1, ids // MATCHED_APART)
            matched[side], fields = _attributes(spark, source, side, ds, counts, every)
            missing |= fields
    found = Survey(
        clicks=total,
        outcomes=outcomes,
        days=_by_day([(row["hour"].date(), row["count"]) for row in hours]),
        users=active,
        items=clicked,
        repeated=1 - pairs / max(sampled, 1),
        tied=1 - instants / max(sampled, 1),
        cutoff=cutoff,
        cold=cold,
        matched=matched,
        missing=missing,
    )
    for held in (rows, users, items):
        held.unpersist()
    return found


def _looked_through(spark: SparkSession, log: ClickLog, ds: date, damage: Damage) -> tuple[DataFrame, dict[str, int]]:
    """Every row of the log by its outcome (null for a click), user, item and time, and how many have each outcome."""
    judged = judge(read_clicks(spark, log, ds, damage).rows, log, ds, datetime.now(UTC))
    outcome = F.coalesce("left_out", F.concat(F.lit("refused: "), "reason"))
    hashes = [F.xxhash64(name).alias(name.removesuffix("_id")) for name in ("user_id", "item_id")]
    rows = _held(judged.select(outcome.alias("outcome"), *hashes, F.col("clicked_at").alias("at")))
    counted = rows.groupBy("outcome").count().orderBy(F.desc("count")).collect()
    return rows, {row["outcome"] or "clicks": row["count"] for row in counted}


def _held(rows: DataFrame) -> DataFrame:
    """Persist rows of hashes as they are: compression makes them no smaller, and takes half of the time."""
    conf, compressed = rows.sparkSession.conf, "spark.sql.inMemoryColumnarStorage.compressed"
    before = conf.get(compressed)
    conf.set(compressed, "false")
    try:
        return rows.persist()
    finally:
        conf.set(compressed, before or "true")


def _cutoff(config: Config, hours: Sequence[tuple[datetime, int]], total: int) -> datetime | None:
    """Where training would end, to the hour; None where each user has a cutoff of their own."""
    if config.split.by == "last" or not hours:
        return None
    if config.split.at is not None:
        return config.split.at
    before = np.cumsum([0, *(count for _, count in hours)])[:-1]
    place = int(np.searchsorted(before, total * (1 - config.split.test_share)))
    return hours[min(place, len(hours) - 1)][0].replace(tzinfo=UTC)


def _by_day(counts: list[tuple[date, int]]) -> list[tuple[date, int]]:
    """Every day from the first to the last, also those without a click."""
    if not counts:
        return []
    days = dict.fromkeys((counts[0][0] + timedelta(n) for n in range((counts[-1][0] - counts[0][0]).days + 1)), 0)
    for day, count in counts:
        days[day] += count
    return list(days.items())


def _activity(counts: DataFrame) -> Activity:
    table = counts.groupBy("n").count().toPandas().sort_values("n")
    n, members = table["n"].to_numpy(), table["count"].to_numpy()
    if not len(n):
        return Activity(0, [0] * len(GROUPS), [0] * len(GROUPS), 0.0, 0)
    group = np.searchsorted(GROUPS, n, side="right") - 1
    own = np.bincount(group, weights=members, minlength=len(GROUPS)).astype(int)
    clicks = np.bincount(group, weights=members * n, minlength=len(GROUPS)).astype(int)
    median = n[np.searchsorted(np.cumsum(members), members.sum() / 2)]
    return Activity(int(members.sum()), own.tolist(), clicks.tolist(), float(median), int(n.max()))


def _attributes(
    spark: SparkSession, source: Attributes, side: str, ds: date, counts: DataFrame, every: int
) -> tuple[float, dict[str, float]]:
    """The share of clicks whose user or item is in its table, and of the table's ids of which each field is unknown.

    Both over one in `every` id.
    """
    table = read_whole(source, partial(_all_read, spark, source, side, ds, every))
    key = id_of(side)
    name = key.removesuffix("_id")
    ids = table.named.select(F.xxhash64(key).alias(name), F.lit(1).alias("known")).distinct()
    asked = counts.where(_one_in(every, F.col(name))).join(ids, name, "left")
    hit = asked.agg(F.sum(F.when(F.col("known").isNotNull(), F.col("n"))), F.sum("n")).head()
    known, clicks = hit or (0, 0)
    nulls = [F.avg(F.col("values").getField(f"f{n}").isNull().cast("double")) for n in range(len(table.fields))]
    shares = table.gathered.where("reason IS NULL").agg(*nulls).head() if nulls else None
    fields = [f"{side}.{field.name}" for field in table.fields]
    missing = {field: float(share or 0) for field, share in zip(fields, shares or (), strict=False)}
    table.gathered.unpersist()
    return (known or 0) / max(clicks or 0, 1), missing


def _all_read(
    spark: SparkSession, source: Attributes, side: str, ds: date, every: int, damage: Damage
) -> AttributeTable:
    table = read_attributes(spark, source, side, ds, damage)
    table = replace(table, gathered=_held(table.gathered.where(_one_in(every, F.xxhash64(id_of(side))))))
    table.gathered.count()
    return table


def _one_in(every: int, hashed: Column) -> Column:
    return F.pmod(hashed, F.lit(every)) == 0
