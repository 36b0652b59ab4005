"""Any click log, read as valid clicks and quarantined rows."""

from datetime import date

from pyspark.errors.exceptions.base import AnalysisException, PySparkException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

from divspa.config import ClickLog, Source
from divspa.errors import ConfigError, InputError

CORRUPT = "_corrupt_record"
PER_SECOND = {"seconds": 1, "milliseconds": 1_000, "nanoseconds": 1_000_000_000}


def read_source(spark: SparkSession, source: Source, ds: date) -> DataFrame:
    """Read an input table as it is; `{ds}` in its path is the logical day.

    Raises InputError when nothing readable is there.
    """
    path = source.location.replace("{ds}", ds.isoformat())
    spark.conf.set("spark.sql.legacy.parquet.nanosAsLong", "true")
    options: dict[str, dict[str, str]] = {
        "csv": {"header": "true", "mode": "PERMISSIVE", "columnNameOfCorruptRecord": CORRUPT},
        "jsonl": {"mode": "PERMISSIVE", "columnNameOfCorruptRecord": CORRUPT},
    }
    name = {"jsonl": "json"}.get(source.format, source.format)
    try:
        return spark.read.format(name).options(**options.get(source.format, {})).load(path)
    except PySparkException as error:
        raise InputError(
            f"The {source.format} input {path} cannot be read",
            found=str(error).partition("\n")[0][:200],
            remedy="mend `path` and `format` in the configuration",
        ) from error


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
    raw row as JSON).
    """
    time = _expression(raw, log.time, "clicks.time")
    if log.positive:
        raw = raw.where(_expression(raw, log.positive, "clicks.positive"))
    require_columns(raw, [log.user, log.item], log, "clicks")
    user, item = (F.trim(F.col(f"`{name}`").cast("string")) for name in (log.user, log.item))
    corrupt = F.col(CORRUPT).isNotNull() if CORRUPT in raw.columns else F.lit(False)
    parsed = raw.select(
        user.alias("user_id"),
        item.alias("item_id"),
        _timestamp(raw, time, log.time_unit).alias("clicked_at"),
        corrupt.alias("corrupt"),
        F.to_json(F.struct("*")).alias("row"),
    )
    return parsed.withColumn("reason", _reason()).drop("corrupt")


def quarantine(parsed: DataFrame, duplicates: DataFrame) -> DataFrame:
    """The refused rows. One row a distinct row and reason, with the number of its copies."""
    refused = parsed.where("reason IS NOT NULL").select("reason", "row", F.lit(1).alias("copies"))
    repeated = duplicates.select(
        F.lit("the same user, item and time again").alias("reason"),
        F.to_json(F.struct("user_id", "item_id", "clicked_at")).alias("row"),
        (F.col("copies") - 1).alias("copies"),
    )
    return refused.union(repeated).groupBy("reason", "row").agg(F.sum("copies").alias("copies"))


def distinct_clicks(parsed: DataFrame, ds: date) -> DataFrame:
    """The usable clicks up to the end of a day. One row a user, item and instant, with the number of its copies."""
    day_end = F.date_add(F.lit(ds), 1)
    usable = parsed.where("reason IS NULL").where(F.col("clicked_at") < day_end)
    distinct = usable.groupBy("user_id", "item_id", "clicked_at").agg(F.count("*").alias("copies"))
    return distinct.withColumn("tie_break", F.xxhash64("item_id", "clicked_at", "user_id"))


def only_new(clicks: DataFrame, earlier: DataFrame, late_days: int) -> DataFrame:
    """Leave out clicks that an earlier day already holds; accept late ones from up to `late_days` before its end."""
    known_until = F.date_add(F.lit(earlier.agg(F.max("ds")).head()[0]), 1 - late_days)  # pyright: ignore[reportOptionalSubscript]
    recent = earlier.where(F.col("clicked_at") >= known_until)
    return clicks.where(F.col("clicked_at") >= known_until).join(
        recent, ["user_id", "item_id", "clicked_at"], "left_anti"
    )


def _expression(rows: DataFrame, text: str, option: str) -> Column:
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


def _timestamp(rows: DataFrame, time: Column, unit: str) -> Column:
    if unit == "timestamp":
        kind = rows.select(time.alias("time")).schema["time"].dataType
        if isinstance(kind, T.NumericType):
            raise ConfigError(
                "The option clicks.time_unit is `timestamp`, but the time column holds numbers",
                found=kind.simpleString(),
                remedy="set clicks.time_unit to seconds, milliseconds or nanoseconds",
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
