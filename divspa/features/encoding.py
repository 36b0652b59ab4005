"""Attribute values to integers: known values from 2 on, 1 for unknown, 0 for padding."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from divspa.arrow import list_column
from divspa.config import ColumnField
from divspa.features.vocabulary import Bounds, hash_code
from schemas.vocabulary import FIRST_INDEX, PADDING, UNKNOWN


@dataclass(frozen=True)
class Codes:
    """The known values of a field as hashes in ascending order, and the index of each."""

    hashes: np.ndarray
    indices: np.ndarray


def encode(
    versions: DataFrame, fields: tuple[ColumnField, ...], vocabulary: DataFrame, bounds: Bounds, output: str
) -> DataFrame:
    """Replace the fields by one integer array `output` of their max_values together; other columns pass through.

    A field takes max_values places: known values first, then padding; a field of which nothing is known holds UNKNOWN
    in its first place. Values travel as 64-bit hashes, and the vocabulary is broadcast as hashes; the user's own id,
    of which there may be too many, is joined.
    """
    names = {field.name for field in fields} - {"user_id"}
    kept = [name for name in versions.columns if name not in names]
    looked_up = [f for f in fields if f.name != "user_id" and f.kind != "numeric" and f.hash_buckets is None]
    shared = versions.sparkSession.sparkContext.broadcast(_codes(vocabulary, looked_up))
    columns = [_hashed(versions, field).alias(f"field {field.name}") for field in fields if field.name != "user_id"]
    if any(field.name == "user_id" for field in fields):
        own = vocabulary.where("field = 'user_id'").select(F.col("value").alias("user_id"), "index")
        versions = versions.join(own.withColumnRenamed("index", "field user_id"), "user_id", "left")
        columns.append(F.col("`field user_id`"))
    schema = T.StructType([*versions.select(kept).schema.fields, T.StructField(output, T.ArrayType(T.IntegerType()))])

    def encode_batches(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            parts = [np.zeros((batch.num_rows, 0), np.int32)]
            for field in fields:
                column, codes = batch.column(f"field {field.name}"), shared.value.get(field.name)
                parts.append(encode_field(column, field.max_values, codes, bounds.get(field.name)))
            passed = [batch.column(name) for name in kept]
            yield pa.RecordBatch.from_arrays([*passed, list_column(np.hstack(parts))], [*kept, output])

    return versions.select(*kept, *columns).mapInArrow(encode_batches, schema)


def encode_field(column: pa.Array, width: int, codes: Codes | None, bounds: list[float] | None) -> np.ndarray:
    """Encode one column [rows, width]: numbers by bounds, hashes by codes, and without either they are indices."""
    if bounds is not None:
        number = column.to_numpy(zero_copy_only=False)
        place = np.searchsorted(np.asarray(bounds, float), number, side="right") + FIRST_INDEX
        return np.where(np.isnan(number), UNKNOWN, place).astype(np.int32)[:, None]
    if isinstance(column, pa.ListArray):
        row, value = np.repeat(np.arange(len(column)), np.diff(column.offsets)), column.flatten().to_numpy()
    else:
        row, value = np.flatnonzero(column.is_valid()), column.drop_null().to_numpy()
    if codes is not None:
        place = np.minimum(np.searchsorted(codes.hashes, value), len(codes.hashes) - 1)
        hit = codes.hashes[place] == value if len(codes.hashes) else np.zeros(len(value), bool)
        row, value = row[hit], codes.indices[place[hit]]
    nth = np.arange(len(row)) - np.searchsorted(row, row, side="left")
    fits = nth < width
    out = np.full((len(column), width), PADDING, np.int32)
    out[row[fits], nth[fits]] = value[fits]
    out[out[:, 0] < FIRST_INDEX, 0] = UNKNOWN
    return out


def _hashed(versions: DataFrame, field: ColumnField) -> Column:
    column, buckets = F.col(f"`{field.name}`"), field.hash_buckets
    if field.kind == "numeric":
        return column

    def code(value: Column) -> Column:
        return F.xxhash64(value) if buckets is None else hash_code(value, buckets)

    if isinstance(versions.schema[field.name].dataType, T.ArrayType):
        return F.transform(column, code)
    return F.when(column.isNotNull(), code(column))


def _codes(vocabulary: DataFrame, fields: list[ColumnField]) -> dict[str, Codes]:
    names = [field.name for field in fields]
    if not names:
        return {}
    number = F.array_position(F.array(*map(F.lit, names)), F.col("field")) - 1
    rows = vocabulary.select(number.cast("int").alias("number"), F.xxhash64("value").alias("hash"), "index")
    table = rows.where("number >= 0").orderBy("number", "hash").toArrow()
    number, hashes, indices = (table[name].to_numpy() for name in ("number", "hash", "index"))
    edges = np.searchsorted(number, np.arange(len(names) + 1))
    return {
        name: Codes(hashes[edges[n] : edges[n + 1]], indices[edges[n] : edges[n + 1]]) for n, name in enumerate(names)
    }
