"""What Delta's log says of a table: versions and rows, without a scan; Delta's own history costs a Spark job."""

import json
import re
from collections.abc import Mapping
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from divspa.errors import LOG
from divspa.storage import listed, read_file, remove


def version_of(rows: DataFrame) -> int:
    """The version that a table just loaded, and not yet transformed, is read at."""
    return _file_index(rows).getSnapshot().version()


def property_of(rows: DataFrame, name: str) -> str | None:
    """A property of a table just loaded; None where it has none of the name."""
    found = _file_index(rows).getSnapshot().metadata().configuration().get(name)
    return str(found.get()) if found.isDefined() else None


def rows_in(rows: DataFrame, table_path: str, partition: Mapping[str, object]) -> int | None:
    """How many rows a partition of a table just loaded has, from its files' statistics; None where one has none.

    Read from the version's checksum where that names the files, as it does of a table of few; else one small Spark job
    over the log, whatever the size of the table.
    """
    named = _files_in_checksum(table_path, version_of(rows))
    if named is not None:
        values = {key: str(value) for key, value in partition.items()}
        within = [each for each in named if values.items() <= each["partitionValues"].items()]
        counts = [json.loads(each.get("stats") or "{}").get("numRecords") for each in within]
        return None if None in counts else sum(counts)
    files = DataFrame(_file_index(rows).getSnapshot().allFiles().toDF(), rows.sparkSession)
    for key, value in partition.items():
        files = files.where(F.col("partitionValues")[key] == str(value))
    held = F.get_json_object("stats", "$.numRecords").cast("bigint")
    found, counted, total = files.agg(F.count("*"), F.count(held), F.sum(held)).head()  # pyright: ignore[reportGeneralTypeIssues]
    return (total or 0) if found == counted else None


def _files_in_checksum(table_path: str, version: int) -> list[dict[str, Any]] | None:
    """The entries of all files of a version, as its checksum has them; None where it has not all or cannot be read."""
    try:
        checksum = json.loads(read_file(f"{table_path}/{LOG}/{version:020}.crc"))
    except (OSError, ValueError):
        return None
    files = checksum.get("allFiles")
    return files if files is not None and len(files) == checksum.get("numFiles") else None


def rows_written(table_path: str, version: int) -> int | None:
    """How many rows the commit of a version wrote, as it says itself; None when it says nothing.

    0 where it made the table, as Delta adds no version for an append of nothing.
    """
    commit = read_file(f"{table_path}/{LOG}/{version:020}.json")
    for line in commit.splitlines():
        if b'"commitInfo"' in line and (info := json.loads(line).get("commitInfo")):
            if info.get("operation") == "CREATE TABLE":
                return 0
            written = info.get("operationMetrics", {}).get("numOutputRows")
            return None if written is None else int(written)
    return None


def forget_older_entries(spark: SparkSession, path: str, name: str) -> None:
    """Leave of a table's log only what its newest version needs, as entries hold the least and greatest ids of files.

    A version that changes nothing is added, whose checkpoint remembers no removed file; older versions cannot be read
    any more. Nobody else may write meanwhile.
    """
    at_once = {"delta.deletedFileRetentionDuration": "interval 0 hours", "delta.checkpointInterval": "1"}
    settings = ", ".join(f"'{key}' = '{value}'" for key, value in at_once.items())
    names = ", ".join(f"'{key}'" for key in at_once)
    spark.sql(f"ALTER TABLE {name} SET TBLPROPERTIES ({settings})")
    newest = max(number for file, number in _entries(path) if ".checkpoint." in file)
    for file, number in _entries(path):
        if number < newest:
            remove(f"{path}/{LOG}/{file}")
    spark.sql(f"ALTER TABLE {name} UNSET TBLPROPERTIES ({names})")


def oldest_version(path: str) -> int:
    """The first version of which a table's log has an entry."""
    return min((number for _, number in _entries(path)), default=0)


def _entries(path: str) -> list[tuple[str, int]]:
    """The files of a table's log that are of one version, and which."""
    named = [(entry.name, re.match(r"\.?(\d{20})\.", entry.name)) for entry in listed(f"{path}/{LOG}")]
    return [(name, int(found[1])) for name, found in named if found is not None]


def _file_index(rows: DataFrame) -> Any:
    behind: Any = rows._jdf
    return behind.queryExecution().analyzed().relation().location()
