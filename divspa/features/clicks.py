"""Any click log, read as valid clicks, refused rows, and rows that are left out on purpose; none is lost."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import reduce

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

from divspa.errors import InputError
from divspa.features.settings import ClickLog
from divspa.sources.damage import Damage
from divspa.sources.table import PROBLEM, RAW, InputTable, Wanted, failed, read_table
from divspa.sources.values import ORDER, REPLACED, looks_like_list

# Why a row is neither a click nor refused.
NOT_POSITIVE, LATER, IGNORED = "not positive", "of a later day", "of another kind of event"
# The columns of a click.
CLICK = ("user_id", "item_id", "clicked_at", "tie_break", "weight", "event")
# About ten thousand years on either side of 1970, and what Python's datetime can hold of them.
WIDEST = 6 * 10**16
YEAR = timedelta(days=366)


def read_clicks(spark: SparkSession, log: ClickLog, ds: date, damage: Damage | None = None) -> InputTable:
    """The columns of a click log: user_id, item_id, clicked_at and, where asked for, positive, weight and event.

    One row a row of the log; of a log with `explode` one row an item, and of an empty list one without an item.
    Files in `damage` are left out.
    """
    meaning = "time" if log.has_times else "order"
    wanted = {
        "user_id": Wanted("clicks.user", log.user, "id"),
        "item_id": Wanted("clicks.item", log.item, "ids" if log.explode else "id"),
        "clicked_at": Wanted("clicks.time", log.time, meaning, log.time_unit),
    }
    if log.positive is not None:
        wanted["positive"] = Wanted("clicks.positive", log.positive, "condition")
    if log.weight is not None:
        wanted["weight"] = Wanted("clicks.weight", log.weight, "number")
    if log.events is not None:
        wanted["event"] = Wanted("clicks.events.column", log.events.column, "text")
    table = read_table(spark, log, wanted, ds, damage)
    rows = table.rows
    if log.explode:
        rows = rows.withColumn("item_id", F.explode_outer("item_id"))
    if not log.has_times:
        rows = rows.withColumn("clicked_at", placed(rows))
    return InputTable(rows, table.files)


def placed(rows: DataFrame) -> Column:
    """Places in an order as timestamps from 1970 on, a second apart where the log's span allows: any numbers do."""
    bounds = rows.agg(F.min("clicked_at").cast("double"), F.max("clicked_at").cast("double")).head()
    low, high = bounds if bounds is not None and bounds[0] is not None else (0.0, 0.0)
    scale = next((10**power for power in range(6, -1, -1) if (high - low) * 10**power <= WIDEST), 1)
    first = F.lit(int(low) - 1).cast(ORDER) if abs(low) > 1e9 else F.lit(0).cast(ORDER)
    return F.timestamp_micros(F.floor(F.try_multiply(F.col("clicked_at") - first, F.lit(scale))).try_cast("bigint"))


def judge(rows: DataFrame, log: ClickLog, ds: date, now: datetime) -> DataFrame:
    """Say of every row of a log whether it is a click: `left_out` and `reason` are null for one.

    Rows of a weighted log have `weight` and `event` too.
    Rows that are left out or refused keep no ids; a refused row keeps `row`, itself as JSON.
    """
    if log.is_weighted:
        rows = with_weight(rows, log)
    left_out = _left_out(rows, log)
    later = F.col("clicked_at") >= F.date_add(F.lit(ds), 1)
    own_file = "{ds}" in log.path
    reasons = _reasons(rows, log, ds, now)
    if log.has_times and own_file:
        # The file of one day is never read again, so what is of a later day would be lost there.
        reasons.append((later, "the time is after the day of its file"))
    reason = reduce(lambda chain, each: chain.when(*each), reasons[1:], F.when(*reasons[0]))
    judged = rows.withColumn("left_out", F.when(F.col(PROBLEM).isNull(), left_out)).withColumn(
        "reason", F.when(F.col("left_out").isNull(), reason)
    )
    if log.has_times and not own_file:
        waits = F.col("left_out").isNull() & F.col("reason").isNull() & later
        judged = judged.withColumn("left_out", F.when(waits, LATER).otherwise(F.col("left_out")))
    good = F.col("left_out").isNull() & F.col("reason").isNull()
    ids = [F.when(good, F.col(name)).alias(name) for name in ("user_id", "item_id", "clicked_at")]
    worth = [F.when(good, F.col(name)).alias(name) for name in ("weight", "event") if log.is_weighted]
    row = F.when(F.col("reason").isNotNull(), F.col(RAW)).alias("row")
    return judged.select(*ids, *worth, "left_out", "reason", row)


def with_weight(rows: DataFrame, log: ClickLog) -> DataFrame:
    """Add what each row of a weighted log counts (`weight`) and its kind of `event`, null in a log without kinds."""
    weight = F.lit(1.0) if log.weight is None else F.col("weight")
    event = F.lit(None).cast("string")
    if log.events is not None:
        event = F.col("event")
        worth = F.create_map(*(F.lit(part) for pair in log.events.weights.items() for part in pair))
        weight = weight * F.try_element_at(worth, event)
    return rows.withColumns({"weight": weight.cast("float"), "event": event})


def _left_out(rows: DataFrame, log: ClickLog) -> Column:
    """Why a row is left out on purpose, null where it is not."""
    cases = []
    if log.positive is not None:
        cases.append((~_is_positive(rows), NOT_POSITIVE))
    if log.events is not None and log.events.unknown == "ignore":
        cases.append((~F.coalesce(F.col("event").isin(*log.kinds), F.lit(False)), IGNORED))
    if log.is_weighted:
        cases.append((F.coalesce(F.col("weight"), F.lit(1.0)) == 0, NOT_POSITIVE))
    nothing = F.lit(None).cast("string")
    return reduce(lambda chain, case: chain.when(*case), cases[1:], F.when(*cases[0])) if cases else nothing


def _is_positive(rows: DataFrame) -> Column:
    """A condition that cannot be computed is no reason to drop a row: that is refused, and seen."""
    return F.coalesce("positive", F.lit(False)) | F.col(f"`{failed('positive')}`")


def _reasons(rows: DataFrame, log: ClickLog, ds: date, now: datetime) -> list[tuple[Column, Column | str]]:
    """Why a row may not be used, the first that holds."""

    def fails(name: str) -> Column:
        return F.col(f"`{failed(name)}`")

    reasons: list[tuple[Column, Column | str]] = [(F.col(PROBLEM).isNotNull(), F.col(PROBLEM))]
    if "positive" in rows.columns:
        reasons.append((fails("positive"), "`clicks.positive` cannot be computed"))
    for name, what in (("user_id", "user"), ("item_id", "item")):
        text = F.col(name)
        reasons += [
            (fails(name), f"`clicks.{what}` cannot be computed"),
            (text.isNull(), f"the {what} is null or empty"),
            (text.contains(REPLACED), f"the {what} is not valid in the text's encoding"),
        ]
    if log.events is not None:
        reasons.append(
            (F.coalesce(~F.col("event").isin(*log.kinds), F.lit(True)), "the event is none of `clicks.events`")
        )
    if log.is_weighted:
        no_weight = F.coalesce((F.col("weight") < 0) | (F.col("weight") == float("inf")), F.lit(True))
        reasons.append((no_weight, "the weight is missing, negative or infinite"))
    reasons.append((looks_like_list(F.col("item_id")), "the item is a list, which `clicks.explode` would take apart"))
    time = F.col("clicked_at")
    if not log.has_times:
        return [*reasons, (fails("clicked_at") | time.isNull(), "the order is missing or not a number")]
    latest = log.latest or max(now, datetime.combine(ds, datetime.min.time(), UTC)) + YEAR
    return [
        *reasons,
        (fails("clicked_at") | time.isNull(), "the time is missing or not a time"),
        (time < F.lit(log.earliest), f"the time is before {log.earliest:%Y-%m-%d}: another unit?"),
        (time > F.lit(latest), "the time lies in the future: another unit?"),
    ]


def gather(judged: DataFrame) -> DataFrame:
    """Equal rows as one, with `copies` and `tie_break`. One row a click, a refused row, or a reason to leave out.

    Of several events of one user, item and instant the one that counts most stays.
    """
    alike = judged.groupBy("user_id", "item_id", "clicked_at", "left_out", "reason", "row")
    copies = F.count("*").alias("copies")
    if "weight" in judged.columns:
        rows = alike.agg(copies, F.max(F.struct("weight", "event")).alias("most"))
        rows = rows.select("*", "most.weight", "most.event").drop("most")
    else:  # where all clicks count alike: Spark sorts every row to find the most of a text, and hashes to count
        nothing = {"weight": F.lit(None).cast("float"), "event": F.lit(None).cast("string")}
        rows = alike.agg(copies).withColumns(nothing)
    return rows.withColumn("tie_break", F.xxhash64("item_id", "clicked_at", "user_id"))


def new_clicks(rows: DataFrame) -> DataFrame:
    """The clicks to add. One row a user, item and instant."""
    fresh = rows.where("left_out IS NULL AND reason IS NULL AND NOT known")
    return fresh.select(*CLICK)


def quarantine(rows: DataFrame) -> DataFrame:
    """The refused rows. One row a distinct row and reason, with the number of its copies."""
    refused = rows.where("reason IS NOT NULL").select("reason", "row", "copies")
    repeated = rows.where("left_out IS NULL AND reason IS NULL AND NOT known AND copies > 1").select(
        F.lit("the same user, item and time again").alias("reason"),
        F.to_json(F.struct("user_id", "item_id", "clicked_at")).alias("row"),
        (F.col("copies") - 1).alias("copies"),
    )
    return refused.union(repeated).groupBy("reason", "row").agg(F.sum("copies").alias("copies"))


@dataclass(frozen=True)
class LogCounts:
    """What became of the rows of a log: every one is in one of the counts that sum up to `read`.

    `first` and `last` are the times of the clicks, `reasons` the refused rows by reason, most first.
    """

    read: int
    new: int
    known: int
    repeated: int
    refused: int
    later: int
    not_positive: int
    ignored: int
    first: str | None
    last: str | None
    reasons: dict[str, int]

    @classmethod
    def of(cls, rows: DataFrame) -> "LogCounts":
        known = F.col("known") & F.col("reason").isNull()
        kind = F.when(F.col("reason").isNotNull(), "refused").when(known, "known")
        kinds = rows.withColumn("kind", F.coalesce("left_out", kind, F.lit("new")))
        counted = kinds.groupBy("kind", "reason").agg(
            F.count("*").alias("distinct"),
            F.sum("copies").alias("copies"),
            F.min("clicked_at").cast(T.StringType()).alias("first"),
            F.max("clicked_at").cast(T.StringType()).alias("last"),
        )
        found = counted.collect()
        copies = {
            kind: sum(row["copies"] for row in found if row["kind"] == kind) for kind in {r["kind"] for r in found}
        }
        new = sum(row["distinct"] for row in found if row["kind"] == "new")
        reasons = {
            row["reason"]: row["copies"] for row in sorted(found, key=lambda row: -row["copies"]) if row["reason"]
        }
        ends = [(row["first"], row["last"]) for row in found if row["first"] is not None]
        return cls(
            read=sum(copies.values()),
            new=new,
            known=copies.get("known", 0),
            repeated=copies.get("new", 0) - new,
            refused=copies.get("refused", 0),
            later=copies.get(LATER, 0),
            not_positive=copies.get(NOT_POSITIVE, 0),
            ignored=copies.get(IGNORED, 0),
            first=min((first for first, _ in ends), default=None),
            last=max((last for _, last in ends), default=None),
            reasons=reasons,
        )

    def __str__(self) -> str:
        parts = {"new": self.new, "known": self.known, "repeated": self.repeated, "refused": self.refused}
        parts |= {"of later days": self.later, "not positive": self.not_positive, "of other events": self.ignored}
        told = ", ".join(f"{count:,} {what}" for what, count in parts.items() if count)
        return f"{self.read:,} rows: {told}" + (f" ({self.why_refused})" if self.reasons else "")

    @property
    def considered(self) -> int:
        """The rows that might have been clicks of the day or an earlier one."""
        return self.read - self.later - self.not_positive - self.ignored

    @property
    def why_refused(self) -> str:
        """The most frequent reasons with their rows, as text."""
        return ", ".join(f"{count} x {reason}" for reason, count in list(self.reasons.items())[:3])

    def require_new(self, log: ClickLog, ds: date) -> None:
        """Raise InputError when the day has no new click."""
        if not self.new:
            span = f", clicks from {self.first} to {self.last}" if self.first else ""
            raise InputError(
                f"The click log {log.path} has no new clicks for {ds}",
                found=f"{self}{span}",
                remedy="check the day, `clicks.positive` and the time unit, or wait until the log has arrived",
            )
