"""Attribute values to integers, over Spark."""

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from divspa.arrow import list_column
from divspa.encoding.codes import Codes, encode_field, encode_vectors
from divspa.features.settings import ColumnField
from divspa.features.vocabulary import Bounds, hash_code
from divspa.sources.expressions import column

OWN_INDEX = "index of user_id"


def encode(
    versions: DataFrame, fields: tuple[ColumnField, ...], vocabulary: DataFrame, bounds: Bounds, output: str
) -> DataFrame:
    """Replace the fields by one integer array `output` of their max_values together; other columns pass through.

    A field takes max_values places: known values first, then padding; a field of which nothing is known holds UNKNOWN
    in its first place. Values travel as 64-bit hashes, and the vocabulary is broadcast as hashes; the user's own id,
    of which there may be too many, is joined. A vector's floats are held as their bits.
    """
    names = {field.name for field in fields} - {"user_id"}
    kept = [name for name in versions.columns if name not in names]
    looked_up = [field for field in fields if field.name != "user_id" and field.has_vocabulary]
    shared = versions.sparkSession.sparkContext.broadcast(_codes(vocabulary, looked_up))
    if any(field.name == "user_id" for field in fields):
        own = vocabulary.where("field = 'user_id'").select(F.col("value").alias("user_id"), "index")
        versions = versions.join(own.withColumnRenamed("index", OWN_INDEX), "user_id", "left")
    columns = [
        (column(OWN_INDEX) if field.name == "user_id" else _hashed(versions, field)).alias(f"field {n}")
        for n, field in enumerate(fields)
    ]
    schema = T.StructType([*versions.select(kept).schema.fields, T.StructField(output, T.ArrayType(T.IntegerType()))])

    def encode_batches(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            parts = [np.zeros((batch.num_rows, 0), np.int32)]
            for n, field in enumerate(fields):
                values, codes = batch.column(f"field {n}"), shared.value.get(field.name)
                if field.size is None:
                    parts.append(encode_field(values, field.max_values, codes, bounds.get(field.name)))
                else:
                    parts.append(encode_vectors(values, field.size))
            passed = [batch.column(name) for name in kept]
            yield pa.RecordBatch.from_arrays([*passed, list_column(np.hstack(parts))], [*kept, output])

    return versions.select(*kept, *columns).mapInArrow(encode_batches, schema)


def _hashed(versions: DataFrame, field: ColumnField) -> Column:
    value, buckets = column(field.name), field.hash_buckets
    if field.kind in ("numeric", "vector"):
        return value

    def code(each: Column) -> Column:
        return F.xxhash64(each) if buckets is None else hash_code(each, buckets)

    if isinstance(versions.schema[field.name].dataType, T.ArrayType):
        return F.transform(value, code)
    return F.when(value.isNotNull(), code(value))


def _codes(vocabulary: DataFrame, fields: list[ColumnField]) -> dict[str, Codes]:
    names = [field.name for field in fields]
    if not names:
        return {}
    number = F.array_position(F.array(*map(F.lit, names)), F.col("field")) - 1
    rows = vocabulary.select(number.cast("int").alias("number"), F.xxhash64("value").alias("hash"), "index")
    table = rows.where("number >= 0").toArrow().sort_by([("number", "ascending"), ("hash", "ascending")])
    number, hashes, indices = (table[name].to_numpy() for name in ("number", "hash", "index"))
    edges = np.searchsorted(number, np.arange(len(names) + 1))
    return {
        name: Codes(hashes[edges[n] : edges[n + 1]], indices[edges[n] : edges[n + 1]]) for n, name in enumerate(names)
    }
