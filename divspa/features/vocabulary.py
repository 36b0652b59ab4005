"""Which index each value of each field is embedded by; a later day keeps the index of each value that stays."""

from collections.abc import Callable
from datetime import date
from functools import reduce

import numpy as np
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F
from pyspark.sql import types as T

from divspa.errors import ConfigError
from divspa.features.settings import ColumnField, SequenceField
from divspa.lake.driver_rows import of_driver
from divspa.schemas.vocabulary import FIRST_INDEX, ITEM_FIELD
from divspa.sources.expressions import column

# Quantiles are taken over about so many rows, chosen by a hash of their id.
LEARNED_FROM = 1_000_000
LOWEST = "-inf"

Bounds = dict[str, list[float]]


def count_items(train: DataFrame, min_count: int) -> DataFrame:
    """field, value, count, train_clicks of the items clicked before the cutoff; `count` adds up weights, 1 at least.

    Weights are summed as whole thousandths, so that no order of the rows changes a sum.
    """
    thousandths = F.round(F.coalesce("weight", F.lit(1.0)) * 1000).cast("bigint")
    counts = train.groupBy(F.col("item_id").alias("value")).agg(
        F.count("*").alias("train_clicks"),
        F.greatest(F.round(F.sum(thousandths) / 1000), F.lit(1)).cast("bigint").alias("count"),
    )
    kept = counts.where(F.col("train_clicks") >= min_count)
    return kept.select(F.lit(ITEM_FIELD).alias("field"), "value", "count", "train_clicks")


def without_clicks(counts: DataFrame, ids: DataFrame) -> DataFrame:
    """`counts` as count_items gives them, and a row for each other id (`item_id`), clicked 0 times."""
    zero = F.lit(0).cast("bigint")
    others = ids.select(F.col("item_id").alias("value")).distinct().join(counts, "value", "left_anti")
    others = others.select(F.lit(ITEM_FIELD).alias("field"), "value", zero.alias("count"), zero.alias("train_clicks"))
    return counts.unionByName(others)


def count_values(versions: DataFrame, fields: tuple[ColumnField, ...]) -> DataFrame:
    """field, value, count of the fields that have a vocabulary, in one pass over attribute versions."""
    fields = tuple(field for field in fields if field.has_vocabulary)
    least = {field.name: field.min_count for field in fields}
    counts = _distinct_values(versions, fields)
    rare = [(F.col("field") == name) & (F.col("count") < count) for name, count in least.items() if count > 1]
    return counts.where(~reduce(Column.__or__, rare)) if rare else counts


def count_buckets(versions: DataFrame, fields: tuple[ColumnField, ...], bounds: Bounds) -> DataFrame:
    """field, value, count, index of the numeric and hashed fields, and `distinct`: the values that share a bucket.

    Every bucket has its row, also an empty one, and its index follows from its number. The value of a numeric bucket is
    its lower bound, so the vocabulary alone tells how numbers are encoded.
    """
    spark = versions.sparkSession
    numeric = [field for field in fields if field.kind == "numeric"]
    hashed = tuple(field for field in fields if field.hash_buckets is not None)
    lowest = [
        (field.name, repr(bound), FIRST_INDEX + place)
        for field in numeric
        for place, bound in enumerate([-np.inf, *bounds[field.name]])
    ]
    buckets = of_driver(spark, lowest, "field string, value string, index int")
    counts = _counted(
        versions, [(field.name, _numeric_bucket(column(field.name), bounds[field.name])) for field in numeric]
    )
    counts = counts.withColumn("distinct", F.lit(None).cast("bigint"))
    for field in hashed:
        own = spark.range(field.hash_buckets or 0).select(
            F.lit(field.name).alias("field"),
            F.col("id").cast("string").alias("value"),
            (F.col("id") + FIRST_INDEX).cast("int").alias("index"),
        )
        buckets = buckets.union(own)
        by_bucket = F.lit(field.name).alias("field"), hash_code(F.col("value"), field.hash_buckets or 0).alias("index")
        values = _distinct_values(versions, (field,)).groupBy(*by_bucket)
        counts = counts.union(values.agg(F.sum("count").alias("count"), F.count("*").alias("distinct")))
    return buckets.join(counts, ["field", "index"], "left").fillna(0, ["count"])


def hash_code(value: Column, buckets: int) -> Column:
    """The index of a value of a hashed field."""
    return (F.pmod(F.xxhash64(value), F.lit(buckets)) + FIRST_INDEX).cast("int")


def index_values(counts: DataFrame, previous: DataFrame | None, ds: date, *, let_go: bool = False) -> DataFrame:
    """Give every (field, value) its index: the one it had, or the next free one, most frequent first.

    One row a field and value of this day or an earlier one, which is counted 0 times where this one lacks it; with
    `let_go` its index is null then, and its place is the first to be free. `previous` is the vocabulary of the day
    before. Adds `since`, the day from which on the index means this value, and `previous_count`, null for a new value.
    """
    told = ["count", *(name for name in counts.columns if name not in ("field", "value", "count"))]
    if previous is None:
        empty = {"index": "int", "since": "date", "previous_count": "bigint"}
        known = counts.withColumns({name: F.lit(None).cast(kind) for name, kind in empty.items()})
    else:
        past = previous.select("field", "value", "index", "since", F.col("count").alias("previous_count"))
        known = counts.join(past, ["field", "value"], "full_outer")
    gone = F.col("count").isNull() & F.lit(let_go)
    known = known.withColumns({"gone": gone, "index": F.when(~gone, F.col("index"))}).fillna(0, told)
    by_field = Window.partitionBy("field")
    new_first = by_field.orderBy("gone", F.col("index").isNotNull(), F.desc("count"), "value")
    places = {"nth": F.row_number().over(new_first), "last": F.max("index").over(by_field)}
    known = known.withColumns(places | {"taken": F.count("index").over(by_field)})
    fresh = F.coalesce("last", F.lit(FIRST_INDEX - 1)) + F.col("nth")
    if previous is not None and let_go:
        known = known.join(_free_places(known), ["field", "nth"], "left")
        fresh = F.coalesce("free", F.col("nth") + FIRST_INDEX - 1 + F.col("taken"))
    index = F.when(~F.col("gone"), F.coalesce("index", fresh)).cast("int").alias("index")
    since = F.when(F.col("index").isNull(), F.lit(ds)).otherwise(F.col("since")).alias("since")
    return known.select("field", "value", index, *told, since, "previous_count")


def _free_places(known: DataFrame) -> DataFrame:
    """The indices below the last of each field that nothing has. One row a field and index (`free`): `nth` from 1."""
    upto = known.where("last IS NOT NULL").select("field", "last").distinct()
    places = upto.select("field", F.explode(F.sequence(F.lit(FIRST_INDEX), "last")).alias("free"))
    taken = known.where("index IS NOT NULL").select("field", F.col("index").alias("free"))
    nth = F.row_number().over(Window.partitionBy("field").orderBy("free")).alias("nth")
    return places.join(taken, ["field", "free"], "left_anti").select("field", nth, "free")


def copy_for(sequences: tuple[SequenceField, ...], vocabulary: DataFrame) -> DataFrame:
    """The values of the sequence fields: those of the item fields that they follow, under their own name."""
    copies = (F.when(F.col("field") == sequence.of, sequence.name) for sequence in sequences)
    return vocabulary.withColumn("field", F.explode(F.array_compact(F.array("field", *copies))))


def numeric_bounds(versions: DataFrame, fields: tuple[ColumnField, ...], kept: DataFrame | None) -> Bounds:
    """The bounds of every numeric field: those of the earlier vocabulary `kept`, else the given, else the quantiles.

    Learned bounds are kept from day to day, so that an index means the same. Raises ConfigError when given bounds
    differ from the kept ones.
    """
    numeric = [field for field in fields if field.kind == "numeric"]
    bounds: Bounds = {}
    if kept is not None and numeric:
        rows = kept.where(F.col("field").isin([field.name for field in numeric])).orderBy("field", "index").collect()
        for row in rows:
            bounds.setdefault(row["field"], []).append(float(row["value"]))
        bounds = {name: own[1:] for name, own in bounds.items()}
    for field in numeric:
        if field.bounds is not None:
            given = list(field.bounds)
            if bounds.setdefault(field.name, given) != given:
                raise _changed(field.name, "bounds", str(bounds[field.name]), str(given))
    missing = [field for field in numeric if field.name not in bounds]
    return bounds | (_quantiles(versions, missing) if missing else {})


def require_same_buckets(fields: tuple[ColumnField, ...], kept: DataFrame | None) -> None:
    """Raise ConfigError when a hashed field had another number of buckets on an earlier day."""
    hashed = {field.name: field.hash_buckets for field in fields if field.hash_buckets is not None}
    if kept is None or not hashed:
        return
    counted = kept.where(F.col("field").isin([*hashed])).groupBy("field").count().collect()
    for name, count in counted:
        if count != hashed[name]:
            raise _changed(name, "hash_buckets", str(count), str(hashed[name]))


def _changed(field: str, option: str, kept: str, given: str) -> ConfigError:
    return ConfigError(
        f"The field {field} has other `{option}` than on the days before, so its indices would change their meaning",
        expected=kept,
        found=given,
        remedy="give the field a new name (with `column`), or begin a new lake",
    )


def _quantiles(versions: DataFrame, fields: list[ColumnField]) -> Bounds:
    names, rows = [field.name for field in fields], versions.count()
    chosen = F.pmod(F.xxhash64(versions.columns[0]), F.lit(rows)) < LEARNED_FROM
    table = (versions.where(chosen) if rows > LEARNED_FROM else versions).select(*map(column, names)).toArrow()
    bounds: Bounds = {field.name: [] for field in fields}
    for field in fields:
        values, parts = table[field.name].drop_null().to_numpy(), field.quantiles or 1
        values = values[np.isfinite(values)]  # the lowest bucket is minus infinity's already
        if len(values):
            learned = np.quantile(values, np.arange(1, parts) / parts, method="inverted_cdf")
            bounds[field.name] = np.unique(learned).tolist()
    return bounds


def _numeric_bucket(number: Column, bounds: list[float]) -> Column:
    """The index of a number's bucket; null stays null."""
    passed = sum(((number >= bound).cast("int") for bound in bounds), F.lit(0))
    return F.when(number.isNotNull(), passed + FIRST_INDEX)


def _counted(versions: DataFrame, columns: list[tuple[str, Column]]) -> DataFrame:
    """field, index, count of single-valued columns."""
    pairs = [F.struct(F.lit(name).alias("field"), index.cast("int").alias("index")) for name, index in columns]
    kind = "array<struct<field:string,index:int>>"
    entries = versions.select(F.explode(F.array(*pairs).cast(kind)).alias("entry")).select("entry.*")
    return entries.where("index IS NOT NULL").groupBy("field", "index").agg(F.count("*").alias("count"))


def _distinct_values(versions: DataFrame, fields: tuple[ColumnField, ...]) -> DataFrame:
    """field, value, count of string fields and string array fields."""
    kind = "array<struct<field:string,value:string>>"
    pairs = [F.array().cast(kind)]
    for field in fields:
        value = column(field.name)
        several = isinstance(versions.schema[field.name].dataType, T.ArrayType)
        values = F.coalesce(value, F.array().cast("array<string>")) if several else F.array(value)
        pairs.append(F.transform(values, _named(field.name)))
    flat = versions.select(F.explode(F.flatten(F.array(*pairs))).alias("entry")).select("entry.*")
    return flat.where("value IS NOT NULL").groupBy("field", "value").agg(F.count("*").alias("count"))


def _named(field: str) -> Callable[[Column], Column]:
    return lambda value: F.struct(F.lit(field).alias("field"), value.alias("value"))
