"""User and item attributes, read as versions that hold from a time on."""

from datetime import date, datetime

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

from divspa.config import Attributes, ColumnField
from divspa.features.clicks import expression, require_columns, timestamp
from divspa.lake.source import read_source

BEGINNING = "0001-01-01"


def attribute_versions(spark: SparkSession, source: Attributes | None, ids: DataFrame, ds: date) -> DataFrame:
    """The declared attributes of every id. One row a row of `ids` (its columns first, the id leading) and version.

    A version holds from `valid_from` on; every id has one from the beginning of time, empty when the table is dated or
    lacks the id. Categorical fields are strings, multi-valued ones string arrays, numeric ones doubles; unknown is
    null. A dated row without a time, or of a later day, is left out. Of rows that share id and time, the first in the
    order of their values wins.
    """
    ids = ids.withColumn("valid_from", F.to_timestamp(F.lit(BEGINNING)))
    if source is None:
        return ids
    named, key = _named(spark, source, ids.columns[0], ds), ids.columns[0]
    fields = [field.name for field in source.fields]
    values = F.min(F.struct(*fields)).alias("values") if fields else F.count("*").alias("values")
    one_each = named.groupBy(key, "valid_from").agg(values).select(key, "valid_from", *(f"values.{f}" for f in fields))
    if source.valid_from is None:
        return ids.join(one_each.drop("valid_from"), key, "left")
    dated = ids.drop("valid_from").join(one_each, key).select(*ids.columns, *fields)
    return ids.unionByName(dated, allowMissingColumns=True)


def newest(versions: DataFrame, moment: datetime) -> DataFrame:
    """The version of each id that held just before a moment. One row an id: the first column."""
    key = versions.columns[0]
    rest = [name for name in versions.columns if name not in (key, "valid_from")]
    values = F.max(F.struct("valid_from", *rest)).alias("newest")
    held = versions.where(F.col("valid_from") < F.lit(moment)).groupBy(key).agg(values)
    return held.select(key, *(f"newest.{name}" for name in rest))


def _named(spark: SparkSession, source: Attributes, key: str, ds: date) -> DataFrame:
    """The raw table with our names and types; `valid_from` is null in a table without times."""
    raw = read_source(spark, source, ds)
    section = "users" if key == "user_id" else "items"
    require_columns(raw, [source.id, *(field.column for field in source.fields)], source, section)
    time = F.lit(None).cast("timestamp")
    if source.valid_from is not None:
        time = expression(raw, source.valid_from, f"{section}.valid_from")
        time = timestamp(raw, time, source.time_unit, f"{section}.time_unit")
    named = raw.select(
        F.trim(F.col(f"`{source.id}`").cast("string")).alias(key),
        time.alias("valid_from"),
        *(_value(raw, field).alias(field.name) for field in source.fields),
    )
    return named if source.valid_from is None else named.where(F.col("valid_from") < F.date_add(F.lit(ds), 1))


def _value(raw: DataFrame, field: ColumnField) -> Column:
    """A field as a double, as a string, or as an array of distinct strings; what says nothing is null or left out."""
    column = F.col(f"`{field.column}`")
    if field.kind == "numeric":
        number = column.try_cast("double")
        return F.when(~F.isnan(number), number)
    if isinstance(raw.schema[field.column].dataType, T.ArrayType):
        strings = F.transform(column.cast("array<string>"), F.trim)
    elif field.delimiter:
        strings = F.transform(F.split(column.cast("string"), "\\Q" + field.delimiter + "\\E"), F.trim)
    else:
        text = F.trim(column.cast("string"))
        return F.when(text != "", text)
    return F.array_distinct(F.filter(strings, lambda value: value.isNotNull() & (value != "")))
