"""What Delta's log says of a table: versions and rows, without a scan; Delta's own history costs a Spark job."""

import json
from collections.abc import Mapping
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from divspa.storage import read_file


def version_of(rows: DataFrame) -> int:
    """The version that a table just loaded, and not yet transformed, is read at."""
    return _file_index(rows).getSnapshot().version()


def rows_in(rows: DataFrame, partition: Mapping[str, object]) -> int | None:
    """How many rows a partition of a table just loaded has, from its files' statistics; None where one has none.

    One small Spark job over the log, whatever the size of the table.
    """
    files = DataFrame(_file_index(rows).getSnapshot().allFiles().toDF(), rows.sparkSession)
    for key, value in partition.items():
        files = files.where(F.col("partitionValues")[key] == str(value))
    held = F.get_json_object("stats", "$.numRecords").cast("bigint")
    found, counted, total = files.agg(F.count("*"), F.count(held), F.sum(held)).head()  # pyright: ignore[reportGeneralTypeIssues]
    return (total or 0) if found == counted else None


def rows_written(table_path: str, version: int) -> int | None:
    """How many rows the commit of a version wrote, as it says itself; None when it says nothing."""
    commit = read_file(f"{table_path}/_delta_log/{version:020}.json")
    for line in commit.splitlines():
        if b'"commitInfo"' in line and (info := json.loads(line).get("commitInfo")):
            written = info.get("operationMetrics", {}).get("numOutputRows")
            return None if written is None else int(written)
    return None


def _file_index(rows: DataFrame) -> Any:
    behind: Any = rows._jdf
    return behind.queryExecution().analyzed().relation().location()
