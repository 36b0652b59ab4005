"""The rows of files that have one header, as Spark reads them; every format in a form that loses nothing in silence."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from json import JSONDecodeError, JSONDecoder
from typing import Any, Literal
from urllib.parse import quote

import pyarrow as pa
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

from divspa.sources.expressions import column
from divspa.sources.files import NO_VALUE, DataFile
from divspa.sources.headers import ColumnKind, Header
from divspa.sources.settings import Source

# Where Spark puts a row of text that it cannot parse.
CORRUPT = "_corrupt_record"
# Two records on one line, or a text that looks like them.
JOINED = "\\}\\s*\\{"
# Of files that hold them, as all that Spark writes: damage is found, and does not become other values.
CHECKSUMS = "parquet.page.verify-checksum.enabled"
NANOS_AS_LONG = "spark.sql.legacy.parquet.nanosAsLong"
ANY_CHARSET = "spark.sql.legacy.javaCharsets"
PATH = "divspa path"


def parquet_rows(spark: SparkSession, files: Sequence[DataFile], kinds: Mapping[str, ColumnKind]) -> DataFrame:
    """Of Parquet files the columns `kinds`; nanoseconds become timestamps of microseconds."""
    spark.conf.set(NANOS_AS_LONG, "true")
    # A column without a type, as pandas writes one of nothing but nulls, is none that Spark's reader takes.
    typed = {name: kind.type for name, kind in kinds.items() if not isinstance(kind.type, T.NullType | None)}
    schema = T.StructType([T.StructField(name, kind) for name, kind in typed.items()])
    rows = spark.read.option(CHECKSUMS, "true").schema(schema).parquet(*map(_as_path, files))
    rows = rows.withColumns({name: F.lit(None) for name in kinds.keys() - typed.keys()})
    whole = {
        name: F.timestamp_micros(F.call_function("div", column(name) - F.pmod(column(name), F.lit(1000)), F.lit(1000)))
        for name, kind in kinds.items()
        if kind.nanoseconds
    }
    return rows.withColumns(whole) if whole else rows


def csv_rows(spark: SparkSession, files: Sequence[DataFile], header: Header, source: Source) -> DataFrame:
    """All columns of CSV files as texts, and CORRUPT: the line of a row that does not fit the header.

    Quotes are doubled inside quotes, as RFC 4180, pandas and spreadsheets write them.
    """
    names = [*(name for name, _ in header.columns), CORRUPT]
    schema = T.StructType([T.StructField(name, T.StringType()) for name in names])
    spark.conf.set(ANY_CHARSET, "true")
    options: dict[str, Any] = {"header": True, "quote": '"', "escape": '"', "mode": "PERMISSIVE"}
    options |= {"columnNameOfCorruptRecord": CORRUPT, "enforceSchema": True}
    options |= {name: value for name, value in source.options.items() if name != "decimal"}
    return spark.read.schema(schema).options(**options).csv([_as_path(file) for file in files])


def json_rows(
    spark: SparkSession, files: Sequence[DataFile], layout: Literal["", "lines", "document"], source: Source
) -> DataFrame:
    """The records of JSON files, whether a line holds one or several, or a file is an array; bad ones in CORRUPT.

    Types are those that all records together have.
    """
    paths = [_as_path(file) for file in files]
    texts = spark.read.text(paths, wholetext=layout == "document").select(
        F.col("_metadata.file_path").alias(PATH), "value"
    )
    if layout == "document":
        texts = _split(texts)
    else:
        texts = texts.withColumn("value", F.btrim("value", F.lit(" \t\r\n\ufeff"))).where("value <> ''")
        joined = texts.where(F.col("value").rlike(JOINED))
        if not joined.isEmpty():
            texts = texts.where(~F.col("value").rlike(JOINED)).unionByName(_split(joined))
    options = {"mode": "PERMISSIVE", "columnNameOfCorruptRecord": CORRUPT}
    options |= {name: str(value).lower() for name, value in source.options.items()}
    inferred = _inferred(spark, texts, options)
    fields = [*(field for field in inferred.fields if field.name != CORRUPT), T.StructField(CORRUPT, T.StringType())]
    rows = texts.select(F.from_json("value", T.StructType(fields), options).alias("record"), PATH)
    return rows.select(*(F.col("record").getField(field.name).alias(field.name) for field in fields), PATH)


def with_folders(rows: DataFrame, keys: Iterable[str]) -> DataFrame:
    """Add the values of folders of the form key=value, as texts: Spark would take 007 for a number."""
    path = F.col(PATH) if PATH in rows.columns else F.col("_metadata.file_path")
    return rows.withColumns({key: _folder_value(path, key) for key in keys}).drop(PATH)


def _folder_value(path: Column, key: str) -> Column:
    # The path is that of a URL, and the name of a folder is written like one too.
    plain = F.url_decode(F.replace(path, F.lit("+"), F.lit("%2B")))
    value = F.regexp_extract(plain, "/" + re.escape(quote(key, safe="")) + "=([^/]*)/", 1)
    return F.when((value != "") & (value != NO_VALUE), F.url_decode(F.replace(value, F.lit("+"), F.lit("%2B"))))


def records_of(text: str) -> Iterator[str]:
    """The records in a text: of an array its elements, else one after the other; what is none is given by its line."""
    decoder, place, end = JSONDecoder(), 0, len(text)
    while True:
        while place < end and text[place] in " \t\r\n,[]\ufeff":
            place += 1
        if place >= end:
            return
        try:
            _, stop = decoder.raw_decode(text, place)
        except JSONDecodeError:
            stop = text.find("\n", place)
            stop = end if stop < 0 else stop
            yield text[place:stop]
            place = stop
            continue
        yield text[place:stop]
        place = stop


def _split(texts: DataFrame) -> DataFrame:
    """One row a record in `value`; the other columns are repeated."""

    def split(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            place = batch.schema.get_field_index("value")
            found = [list(records_of(text)) for text in batch.column(place).to_pylist()]
            rows = pa.array([row for row, records in enumerate(found) for _ in records], pa.int64())
            columns = batch.take(rows).columns
            columns[place] = pa.array([record for records in found for record in records], pa.string())
            yield pa.RecordBatch.from_arrays(columns, batch.schema.names)

    return texts.mapInArrow(split, texts.schema)


def _inferred(spark: SparkSession, texts: DataFrame, options: dict[str, str]) -> T.StructType:
    """The schema of JSON texts. PySpark's own reader takes files or RDDs only, and an RDD goes through Python."""
    session: Any = spark
    values: Any = texts.select("value")
    encoder = session._jvm.org.apache.spark.sql.Encoders.STRING()
    reader = session._jsparkSession.read()
    for name, value in options.items():
        reader = reader.option(name, value)
    schema = reader.json(getattr(values._jdf, "as")(encoder)).schema().json()
    return T.StructType.fromJson(json.loads(schema))


def _as_path(file: DataFile) -> str:
    """The file as Spark takes a path: it would read some characters of a name as a glob."""
    return "".join("\\" + letter if letter in "{}[]*?\\" else letter for letter in file.url)
