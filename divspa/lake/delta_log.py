"""What Delta's log says of a table: versions and rows, without a scan; Delta's own history costs a Spark job."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from divspa.errors import LOG
from divspa.storage import listed, read_file, remove


@dataclass(frozen=True)
class DataFile:
    """A file of a version of a table: its name within the table's folder, partition, bytes, and rows where known."""

    name: str
    partition: dict[str, str | None]
    size: int
    rows: int | None


def version_of(rows: DataFrame) -> int:
    """The version that a table just loaded, and not yet transformed, is read at."""
    return _file_index(rows).getSnapshot().version()


def folder_of(rows: DataFrame) -> str:
    """The folder of a table just loaded, as Spark spells it."""
    return str(_file_index(rows).path().toString())


def property_of(rows: DataFrame, name: str) -> str | None:
    """A property of a table just loaded; None where it has none of the name."""
    found = _file_index(rows).getSnapshot().metadata().configuration().get(name)
    return str(found.get()) if found.isDefined() else None


def rows_in(rows: DataFrame, table_path: str, partition: Mapping[str, object]) -> int | None:
    """How many rows a partition of a table just loaded has, from its files' statistics; None where one has none."""
    files = data_files(table_path, version_of(rows), partition, lambda: rows)
    counts = [file.rows for file in files if file.rows is not None]
    return sum(counts) if len(counts) == len(files) else None


def data_files(
    table_path: str, version: int, partition: Mapping[str, object], load: Callable[[], DataFrame]
) -> list[DataFile]:
    """The files of a partition of a version of a table.

    Read from the version's checksum where that names the files, as it does of a table of few; else one small Spark job
    over the log of the table that `load` gives, at that version and not yet transformed.
    """
    values = {key: str(value) for key, value in partition.items()}
    named = _files_in_checksum(table_path, version)
    if named is None:
        return _files_in_log(load(), values)
    return [file for file in named if values.items() <= file.partition.items()]


def _files_in_checksum(table_path: str, version: int) -> list[DataFile] | None:
    """The files of a version, as its checksum has them; None where it has not all or cannot be read."""
    try:
        checksum = json.loads(read_file(f"{table_path}/{LOG}/{version:020}.crc"))
    except (OSError, ValueError):
        return None
    entries = checksum.get("allFiles")
    if entries is None or len(entries) != checksum.get("numFiles"):
        return None
    counts = [json.loads(entry.get("stats") or "{}").get("numRecords") for entry in entries]
    return [
        DataFile(unquote(entry["path"]), entry["partitionValues"], entry["size"], rows)
        for entry, rows in zip(entries, counts, strict=True)
    ]


def _files_in_log(rows: DataFrame, partition: Mapping[str, str]) -> list[DataFile]:
    files = DataFrame(_file_index(rows).getSnapshot().allFiles().toDF(), rows.sparkSession)
    for key, value in partition.items():
        files = files.where(F.col("partitionValues")[key] == value)
    # Counted there, as the statistics of all columns are much to send.
    count = F.get_json_object("stats", "$.numRecords").cast("bigint")
    found = files.select("path", "partitionValues", "size", count).collect()
    return [DataFile(unquote(path), values, size, rows) for path, values, size, rows in found]


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
