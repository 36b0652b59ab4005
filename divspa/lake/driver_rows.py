"""Rows that the driver holds as a DataFrame."""

from collections.abc import Iterable
from typing import cast

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import types as T
from pyspark.sql.pandas.types import to_arrow_schema


def of_driver(spark: SparkSession, rows: Iterable[tuple], columns: str) -> DataFrame:
    """Some rows of these columns (in SQL), as a part of the plan: a list would start Python workers that hand it over.

    Raises pyarrow's ArrowInvalid or ArrowTypeError for a value that is not of its column's type.
    """
    schema = to_arrow_schema(cast(T.StructType, T.StructType.fromDDL(columns)))
    values = list(zip(*rows, strict=True)) or [()] * len(schema)
    arrays = [pa.array(map(_plain, own), field.type) for own, field in zip(values, schema, strict=True)]
    return spark.createDataFrame(pa.Table.from_arrays(arrays, schema=schema), columns)


def _plain(value: object) -> object:
    """Arrow takes a map as its pairs."""
    return list(value.items()) if isinstance(value, dict) else value
