"""Tables of input, as they lie in files or in Delta."""

from datetime import date

from pyspark.errors.exceptions.base import PySparkException
from pyspark.sql import DataFrame, SparkSession

from divspa.config import Source
from divspa.errors import InputError

# Where Spark puts a row of text that it cannot parse.
CORRUPT = "_corrupt_record"


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
