"""Any click log, read as valid clicks and quarantined rows."""

from dataclasses import dataclass
from datetime import date

from pyspark.errors.exceptions.base import AnalysisException
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from divspa.config import ClickLog, Source, TimeUnit
from divspa.errors import ConfigError, InputError
from divspa.lake.source import CORRUPT

PER_SECOND = {"seconds": 1, "milliseconds": 1_000, "nanoseconds": 1_000_000_000}


def require_columns(rows: DataFrame, columns: list[str], source: Source, section: str) -> None:
    """Raise InputError unless every column is there."""
    missing = [column for column in columns if column not in rows.columns]
    if missing:
        raise InputError(
            f"The input {source.path} lacks the column {', '.join(missing)}",
            found=f"columns {', '.join(rows.columns)}",
            remedy=f"mend the column names under `{section}` in the configuration",
        )


def parse_clicks(raw: DataFrame, log: ClickLog) -> DataFrame:
    """Name and type the columns of a raw log.

    One row a raw row that is a positive: user_id, item_id, clicked_at, `reason` (null for a usable row) and `row` (the
    raw row as JSON, where there is a reason).
    """
    time = expression(raw, log.time, "clicks.time")
    if log.positive:
        raw = raw.where(expression(raw, log.positive, "clicks.positive"))
    require_columns(raw, [log.user, log.item], log, "clicks")
    user, item = (F.trim(F.col(f"`{name}`").cast("string")) for name in (log.user, log.item))
    corrupt = F.col(CORRUPT).isNotNull() if CORRUPT in raw.columns else F.lit(False)
    columns = {
        "user_id": user,
        "item_id": item,
        "clicked_at": timestamp(raw, time, log.time_unit, "clicks.time_unit"),
        "corrupt": corrupt,
        "json": F.to_json(F.struct("*")),
    }
    parsed = raw.select(*(column.alias(name) for name, column in columns.items())).withColumn("reason", _reason())
    return parsed.withColumn("row", F.when(F.col("reason").isNotNull(), F.col("json"))).drop("corrupt", "json")


def gather(parsed: DataFrame, ds: date, *, daily_file: bool) -> DataFrame:
    """The rows of a log up to the end of a day. One row a user, item, instant, reason and raw row, with its copies.

    Later rows are left for their own day; but a file of one day is never read again, so there they are refused.
    """
    later = F.col("clicked_at") >= F.date_add(F.lit(ds), 1)
    if daily_file:
        refused = later & F.col("reason").isNull()
        as_json = F.to_json(F.struct("user_id", "item_id", "clicked_at"))
        parsed = parsed.withColumns(
            {
                "reason": F.when(refused, "the time is after the day of its file").otherwise(F.col("reason")),
                "row": F.when(refused, as_json).otherwise(F.col("row")),
            }
        )
    else:
        parsed = parsed.where(F.col("clicked_at").isNull() | ~later)
    rows = parsed.groupBy("user_id", "item_id", "clicked_at", "reason", "row").agg(F.count("*").alias("copies"))
    return rows.withColumn("tie_break", F.xxhash64("item_id", "clicked_at", "user_id"))


def mark_known(rows: DataFrame, earlier: DataFrame, ds: date, late_days: int) -> DataFrame:
    """Mark the clicks that an earlier day holds (`known`), and refuse those that are new but too old.

    `earlier` is compared by a hash of the click and its time, so that no ids travel. Clicks are too old when they
    happened more than `late_days` before the end of the newest earlier day.
    """
    newest = earlier.agg(F.max("ds")).head()[0]  # pyright: ignore[reportOptionalSubscript]
    if newest is None:
        return rows.withColumn("known", F.lit(False))
    held = earlier.select("tie_break", "clicked_at", F.lit(True).alias("known"))
    marked = rows.join(held, ["tie_break", "clicked_at"], "left").withColumn("known", F.col("known").isNotNull())
    usable = F.col("reason").isNull() & ~F.col("known")
    too_old = usable & (F.col("clicked_at") < F.date_add(F.lit(newest), 1 - late_days))
    reason = f"more than {late_days} days late" if late_days else "of a day that was closed already"
    return marked.withColumns(
        {
            "reason": F.when(too_old, reason).otherwise(F.col("reason")),
            "row": F.when(too_old, F.to_json(F.struct("user_id", "item_id", "clicked_at"))).otherwise(F.col("row")),
        }
    )


def new_clicks(rows: DataFrame) -> DataFrame:
    """The clicks to add. One row a user, item and instant."""
    fresh = rows.where("reason IS NULL AND NOT known")
    return fresh.select("user_id", "item_id", "clicked_at", "tie_break")


def quarantine(rows: DataFrame) -> DataFrame:
    """The refused rows. One row a distinct row and reason, with the number of its copies."""
    refused = rows.where("reason IS NOT NULL").select("reason", "row", "copies")
    repeated = rows.where("reason IS NULL AND NOT known AND copies > 1").select(
        F.lit("the same user, item and time again").alias("reason"),
        F.to_json(F.struct("user_id", "item_id", "clicked_at")).alias("row"),
        (F.col("copies") - 1).alias("copies"),
    )
    return refused.union(repeated).groupBy("reason", "row").agg(F.sum("copies").alias("copies"))


@dataclass(frozen=True)
class LogCounts:
    """How many rows of the log were read, refused or repeated, how many clicks are new, and what time they span."""

    read: int
    refused: int
    repeated: int
    new: int
    first: str | None
    last: str | None

    @classmethod
    def of(cls, rows: DataFrame) -> "LogCounts":
        new = F.col("reason").isNull() & ~F.col("known")
        counted = rows.agg(
            F.coalesce(F.sum("copies"), F.lit(0)),
            F.coalesce(F.sum(F.when(F.col("reason").isNotNull(), F.col("copies"))), F.lit(0)),
            F.coalesce(F.sum(F.when(new, F.col("copies") - 1)), F.lit(0)),
            F.count(F.when(new, True)),
            F.min("clicked_at").cast("string"),
            F.max("clicked_at").cast("string"),
        ).head()
        assert counted is not None
        return cls(*counted)

    def require_new(self, log: ClickLog, ds: date) -> None:
        """Raise InputError when the day has no new click."""
        if not self.new:
            raise InputError(
                f"The click log {log.path} has no new clicks for {ds}",
                found=f"{self.read} positive rows, {self.refused} of them unusable, from {self.first} to {self.last}",
                remedy="check the day, `clicks.positive` and the time unit, or wait until the log has arrived",
            )


def expression(rows: DataFrame, text: str, option: str) -> Column:
    """A column by its name, or else a Spark SQL expression."""
    if text in rows.columns:
        return F.col(f"`{text}`")
    try:
        rows.select(F.expr(text))
    except AnalysisException as error:
        raise ConfigError(
            f"The option {option} is neither a column of the log nor a Spark SQL expression over its columns: {text}",
            found=f"columns {', '.join(rows.columns)}",
            remedy=f"mend `{option}` in the configuration",
        ) from error
    return F.expr(text)


def timestamp(rows: DataFrame, time: Column, unit: TimeUnit, option: str) -> Column:
    """A column of times, null where there is none. Raises ConfigError for numbers without a unit."""
    if unit == "timestamp":
        kind = rows.select(time.alias("time")).schema["time"].dataType
        if isinstance(kind, T.NumericType):
            raise ConfigError(
                f"The option {option} is `timestamp`, but the time column holds numbers",
                found=kind.simpleString(),
                remedy=f"set {option} to seconds, milliseconds or nanoseconds",
            )
        return F.try_to_timestamp(time) if isinstance(kind, T.StringType) else time.cast("timestamp")
    scale = 1_000_000 / PER_SECOND[unit]
    return F.timestamp_micros(F.round(time.try_cast("double") * F.lit(scale)).try_cast("bigint"))


def _reason() -> Column:
    empty = {name: F.col(name).isNull() | (F.col(name) == "") for name in ("user_id", "item_id")}
    return (
        F.when(F.col("corrupt"), "the row cannot be parsed")
        .when(empty["user_id"], "the user is null or empty")
        .when(empty["item_id"], "the item is null or empty")
        .when(F.col("clicked_at").isNull(), "the time is missing or not a time")
        .when(F.col("clicked_at") <= F.timestamp_seconds(F.lit(0)), "the time is not after 1970-01-01")
    )
