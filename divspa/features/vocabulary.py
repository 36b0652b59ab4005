"""Which index each value of each field is embedded by; a later day keeps every index and appends."""

from functools import reduce

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from divspa.config import FeatureField
from schemas.vocabulary import FIRST_INDEX, ITEM_FIELD


def count_items(train: DataFrame, min_count: int) -> DataFrame:
    """field, value, count of the items clicked before the cutoff."""
    counts = train.groupBy(F.col("item_id").alias("value")).agg(F.count("*").alias("count"))
    return counts.where(F.col("count") >= min_count).select(F.lit(ITEM_FIELD).alias("field"), "value", "count")


def count_values(attributes: DataFrame, fields: tuple[FeatureField, ...]) -> list[DataFrame]:
    """field, value, count of every declared field, over attribute rows that hold a string array for each field."""
    return [
        attributes.select(F.explode(f"`{field.name}`").alias("value"))
        .groupBy("value")
        .agg(F.count("*").alias("count"))
        .where(F.col("count") >= field.min_count)
        .select(F.lit(field.name).alias("field"), "value", "count")
        for field in fields
    ]


def index_values(counts: list[DataFrame], previous: DataFrame | None) -> DataFrame:
    """Give every (field, value) its index: the one it had, or the next free one, most frequent first.

    One row a field and value of this day or an earlier one; `previous` is the vocabulary of the day before.
    """
    today = reduce(DataFrame.unionAll, counts)
    if previous is None:
        known, first_free = today.withColumn("index", F.lit(None).cast("int")), F.lit(FIRST_INDEX)
    else:
        past = previous.select("field", "value", "index")
        known = today.join(past, ["field", "value"], "full_outer").fillna(0, ["count"])
        first_free = F.coalesce(F.max("index").over(Window.partitionBy("field")) + 1, F.lit(FIRST_INDEX))
    newest_last = Window.partitionBy("field").orderBy(F.col("index").isNotNull(), F.desc("count"), "value")
    fresh = first_free + F.row_number().over(newest_last) - 1
    return known.select("field", "value", F.coalesce("index", fresh).cast("int").alias("index"), "count")
