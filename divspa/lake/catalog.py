"""The lake's tables under names of a catalogue, such as Hive's or Unity's, which Spark's own configuration sets up."""

from pyspark.errors.exceptions.base import PySparkException

from divspa.errors import ConfigError, one_line
from divspa.lake.tables import Lake, local_path, quoted
from divspa.schemas import TABLES, Table


def register(lake: Lake, schema: str) -> list[str]:
    """Give each table that the lake has its name in `schema`, a `catalog.schema`, and return the names that are new.

    The tables stay where they are, so nobody has to register them again for a later day. Raises ConfigError when the
    catalogue cannot be used, or knows another table by such a name.
    """
    try:
        lake.spark.sql(f"CREATE SCHEMA IF NOT EXISTS {schema}")
        held = [table for table in TABLES.values() if lake.exists(table)]
        return [table.name for table in held if _is_new(lake, schema, table)]
    except PySparkException as error:
        raise ConfigError(
            f"The tables cannot be registered in {schema}",
            found=one_line(error),
            remedy="set the catalogue up in Spark's configuration (`spark.sql.catalogImplementation`, "
            "`spark.sql.catalog.NAME`), or set `catalog: null`",
        ) from error


def _is_new(lake: Lake, schema: str, table: Table) -> bool:
    """Register a table unless it is registered already."""
    name, path = f"{schema}.{table.name}", lake.path(table)
    if not lake.spark.catalog.tableExists(name):
        lake.spark.sql(f"CREATE TABLE IF NOT EXISTS {name} USING DELTA LOCATION {quoted(path)}")
        return True
    (found,) = lake.spark.sql(f"DESCRIBE DETAIL {name}").select("location").head()  # pyright: ignore[reportGeneralTypeIssues]
    if local_path(found) != path:
        raise ConfigError(
            f"The catalogue has another table {name}", expected=path, found=found, remedy="mend `catalog`"
        )
    return False
