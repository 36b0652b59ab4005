"""User and item attributes, encoded to integers by the vocabulary."""

from collections.abc import Iterable, Iterator
from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

from divspa.arrow import list_column
from divspa.config import Attributes, FeatureField
from divspa.features.clicks import read_source, require_columns
from schemas.vocabulary import FIRST_INDEX, PADDING, UNKNOWN


def attribute_values(spark: SparkSession, source: Attributes | None, ids: DataFrame, ds: date) -> DataFrame:
    """The declared attributes of every id. One row a row of `ids`: its single column, then a string array a field.

    An id without attributes has empty arrays. When an id has several rows, the first in the order of their values wins.
    """
    key = ids.columns[0]
    if source is None:
        return ids
    raw = read_source(spark, source, ds)
    section = "users" if key == "user_id" else "items"
    require_columns(raw, [source.id, *(field.column for field in source.fields)], source, section)
    named = raw.select(
        F.trim(F.col(f"`{source.id}`").cast("string")).alias(key),
        *(_strings(raw, field).alias(field.name) for field in source.fields),
    )
    values = F.min(F.struct(*(field.name for field in source.fields))).alias("values") if source.fields else None
    one_each = named.groupBy(key).agg(values).select(key, "values.*") if values is not None else named.distinct()
    joined = ids.join(one_each, key, "left")
    return joined.select(key, *(F.coalesce(field.name, _nothing()).alias(field.name) for field in source.fields))


def encode(values: DataFrame, fields: tuple[FeatureField, ...], vocabulary: DataFrame, output: str) -> DataFrame:
    """Replace string arrays by one integer array `output` of the fields' max_values together.

    A field takes max_values places: known values first, then padding; a field of which nothing is known holds UNKNOWN
    in its first place. Other columns pass through. Fields of many values (user_id) are joined, not broadcast.
    """
    for field in fields:
        if field.name == "user_id":
            own = vocabulary.where(F.col("field") == field.name).select(F.col("value").alias("user_id"), "index")
            values = values.join(own, "user_id", "left").withColumn(
                "user_id_index", F.coalesce("index", F.lit(UNKNOWN))
            )
            values = values.drop("index")
    small = [field for field in fields if field.name != "user_id"]
    kept = [name for name in values.columns if name not in {field.name for field in small}]
    sets = _value_sets(vocabulary, small)
    schema = T.StructType([*values.select(kept).schema.fields, T.StructField(output, T.ArrayType(T.IntegerType()))])

    def encode_batches(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            lead = [batch.column("user_id_index").to_numpy()[:, None]] if "user_id_index" in kept else []
            parts = lead + [_encode_field(batch.column(f.name), f.max_values, *sets.value[f.name]) for f in small]
            table = np.hstack(parts).astype(np.int32) if parts else np.zeros((batch.num_rows, 0), np.int32)
            encoded = list_column(table)
            columns = [batch.column(name) for name in kept]
            yield pa.RecordBatch.from_arrays([*columns, encoded], [*kept, output])

    return values.mapInArrow(encode_batches, schema).drop("user_id_index")


def _nothing() -> Column:
    return F.array().cast("array<string>")


def _strings(raw: DataFrame, field: FeatureField) -> Column:
    """A field as an array of non-empty, distinct strings."""
    column = F.col(f"`{field.column}`")
    kind = raw.schema[field.column].dataType
    if isinstance(kind, T.ArrayType):
        strings = column.cast("array<string>")
    elif field.delimiter:
        strings = F.split(column.cast("string"), "\\Q" + field.delimiter + "\\E")
    else:
        strings = F.array(column.cast("string"))
    trimmed = F.transform(F.coalesce(strings, _nothing()), F.trim)
    return F.array_distinct(F.filter(trimmed, lambda value: value.isNotNull() & (value != "")))


def _value_sets(vocabulary: DataFrame, fields: list[FeatureField]):
    spark = vocabulary.sparkSession
    names = [field.name for field in fields]
    rows = vocabulary.where(F.col("field").isin(names)).toPandas()
    sets = {name: rows[rows["field"] == name] for name in names}
    return spark.sparkContext.broadcast(
        {name: (pa.array(own["value"], pa.string()), np.asarray(own["index"], np.int32)) for name, own in sets.items()}
    )


def _encode_field(column: pa.ListArray, width: int, known: pa.StringArray, indices: np.ndarray) -> np.ndarray:
    """Encode a list column. Returns [rows, width] int32."""
    offsets = np.asarray(column.offsets)
    row = np.repeat(np.arange(len(column)), np.diff(offsets))
    places = pc.index_in(column.flatten(), value_set=known)  # pyright: ignore[reportAttributeAccessIssue]
    found = places.to_numpy(zero_copy_only=False)
    hit = ~np.isnan(found) if found.dtype.kind == "f" else np.ones(len(found), bool)
    row, code = row[hit], indices[found[hit].astype(np.int64)]
    place = np.arange(len(row)) - np.searchsorted(row, row, side="left")
    fits = place < width
    out = np.full((len(column), width), PADDING, np.int32)
    out[row[fits], place[fits]] = code[fits]
    out[out[:, 0] < FIRST_INDEX, 0] = UNKNOWN
    return out
