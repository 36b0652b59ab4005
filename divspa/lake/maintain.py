"""Stage `maintain`: small files joined, days past their time deleted, and files that nobody can need removed."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta

from delta.tables import DeltaTable
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from divspa.config import Config
from divspa.errors import LOG
from divspa.lake.conflicts import SPARK_ERRORS, is_conflict, retried
from divspa.lake.delta_log import oldest_version
from divspa.lake.event_logs import entries_before, event_logs_before
from divspa.lake.lease import MAINTAIN, Lease
from divspa.lake.published import kept_versions, published
from divspa.lake.tables import Lake, local_path
from divspa.progress import console
from divspa.schemas import AUGMENTED_POSITIVES, CLICKS, CLICKS_QUARANTINE, EXAMPLES, TABLES, TRAINING_RUNS, Table
from divspa.storage import listed, remove

# The log itself: every day is made from all earlier ones, so these never age.
KEPT = (CLICKS, CLICKS_QUARANTINE)
# Training divides these among its processes by row group, so a day's files are left as they were written.
READ_IN_PARTS = (EXAMPLES, AUGMENTED_POSITIVES)
SCHEME = "^[a-z0-9]+:/*"
FOLDERS = ("checkpoints", "reports", "serving", "refit")


@dataclass(frozen=True)
class Old:
    """What is older than `maintain.keep_days`: days of tables, folders of days, and event logs of this lake's runs."""

    before: date | None
    days: dict[str, list[date]]
    folders: list[str]
    event_logs: list[str]

    @classmethod
    def of(cls, lake: Lake, config: Config, ds: date) -> "Old":
        if not config.maintain.keep_days:
            return cls(None, {}, [], [])
        oldest = ds - timedelta(days=config.maintain.keep_days - 1)
        if (current := published(lake)) is not None:
            oldest = min(oldest, current.ds)  # what everybody reads does not age
        days = {table.name: _days_before(lake, table, oldest) for table in held_tables(lake) if table not in KEPT}
        logs = event_logs_before(lake, config.event_log, oldest)
        return cls(oldest, {name: old for name, old in days.items() if old}, days_before(lake.root, oldest), logs)


def maintain(lake: Lake, config: Config, ds: date) -> None:
    """Join the day's small files, delete days older than `maintain.keep_days`, and vacuum what no model pins.

    A model that was trained within `maintain.pinned_days` can still be traced to what it read: the files of those
    versions are kept. While another run works on the lake nothing is vacuumed, because it pins versions that no table
    names yet; a day that it writes just now may stay in small files. Of the event logs only those go that runs of this
    lake wrote. Can be run again, and at any time.
    """
    settings = config.maintain
    for table in held_tables(lake):
        if table not in READ_IN_PARTS:
            _compact(lake, table, ds, settings.file_mb)
    _delete(lake, config, Old.of(lake, config, ds))
    if running := (lake.lease or Lease(lake.root, MAINTAIN, MAINTAIN)).others():
        console.print(f"Nothing is vacuumed, as another run works on the lake: {running[0]}", soft_wrap=True)
        return
    pinned = pinned_versions(lake, ds - timedelta(days=settings.pinned_days - 1))
    for table in held_tables(lake):
        vacuum(lake, table, pinned.get(table.name, set()), settings.vacuum_hours)


def maintain_dry_run(lake: Lake, config: Config, ds: date) -> None:
    """Print what `maintain` would delete now, and delete nothing. Files of deleted days go `vacuum_hours` later."""
    old, hours = Old.of(lake, config, ds), config.maintain.vacuum_hours
    for name, days in old.days.items():
        _would_go(f"{name}: {', '.join(map(str, days))}")
    for path in old.folders + old.event_logs:
        _would_go(path)
    pinned = pinned_versions(lake, ds - timedelta(days=config.maintain.pinned_days - 1))
    files = 0
    for table in held_tables(lake):
        for row in unneeded(lake, table, pinned.get(table.name, set()), hours).toLocalIterator():
            _would_go(row["path"])
            files += 1
    days = sum(map(len, old.days.values()))
    console.print(
        f"maintain would delete {days} days of tables, {len(old.folders)} folders, {len(old.event_logs)} event logs "
        f"and {files} files that no version of the last {hours:g} hours has; nothing was deleted",
        soft_wrap=True,
        highlight=False,
    )


def _would_go(what: str) -> None:
    console.print(f"would be deleted: {what}", soft_wrap=True, highlight=False, markup=False)


def held_tables(lake: Lake) -> list[Table]:
    """The tables of the contract that the lake has."""
    return [table for table in TABLES.values() if lake.exists(table)]


def _delete(lake: Lake, config: Config, old: Old) -> None:
    if old.before is None:
        return
    # The logs' owners stand in job_runs, so its rows go last.
    for path in old.folders + old.event_logs:
        remove(path)
    for path in entries_before(lake, config.event_log, old.before):
        remove(path)
    for name in old.days:
        table = DeltaTable.forPath(lake.spark, lake.path(TABLES[name]))
        retried(name, lambda table=table: table.delete(F.col("ds") < F.lit(old.before)))


def _days_before(lake: Lake, table: Table, oldest: date) -> list[date]:
    rows = lake.read(table).where(F.col("ds") < F.lit(oldest)).select("ds").distinct().collect()
    return sorted(row["ds"] for row in rows)


def _compact(lake: Lake, table: Table, ds: date, file_mb: int) -> None:
    lake.spark.conf.set("spark.databricks.delta.optimize.maxFileSize", str(file_mb << 20))
    lake.spark.conf.set("spark.databricks.delta.optimize.minFileSize", str(file_mb << 20))
    optimizer = DeltaTable.forPath(lake.spark, lake.path(table)).optimize().where(f"ds = '{ds}'")
    try:
        optimizer.executeCompaction()
    except SPARK_ERRORS as error:
        if not is_conflict(error):
            raise
        console.print(f"The small files of {table.name} are not joined: another run writes them", highlight=False)


def pinned_versions(lake: Lake, since: date) -> dict[str, set[int]]:
    """The versions of each table that the models trained since a day have read, and that are published."""
    pinned: dict[str, set[int]] = {}
    if lake.exists(TRAINING_RUNS):
        for row in lake.read(TRAINING_RUNS).where(F.col("ds") >= F.lit(since)).select("versions").collect():
            for name, version in row["versions"].items():
                pinned.setdefault(name, set()).add(version)
    for kept in kept_versions(lake, since):
        for name, version in kept.tables.items():
            pinned.setdefault(name, set()).add(version)
    return pinned


def vacuum(lake: Lake, table: Table, pinned: set[int], hours: float) -> None:
    """Remove files that no version of the last `hours` has, but for those of pinned versions."""
    _vacuum(lake, table, pinned, hours, "")


def unneeded(lake: Lake, table: Table, pinned: set[int], hours: float) -> DataFrame:
    """What `vacuum` would remove. One row a file: path."""
    return _vacuum(lake, table, pinned, hours, "DRY RUN")


def _vacuum(lake: Lake, table: Table, pinned: set[int], hours: float, how: str) -> DataFrame:
    """Delta itself knows no pins, so it is given an inventory of the files that may go."""
    with _inventory(lake, lake.path(table), pinned_files(lake, table, pinned)) as view:
        return lake.spark.sql(
            f"VACUUM {lake.name(table)} USING INVENTORY (SELECT * FROM {view}) RETAIN {hours} HOURS {how}"  # noqa: S608
        )


def pinned_files(lake: Lake, table: Table, pinned: set[int]) -> set[str]:
    """The files of some versions of a table, of those that its log still has."""
    readable = [version for version in pinned if version >= oldest_version(lake.path(table))]
    return {local_path(url) for version in readable for url in lake.read(table, version).inputFiles()}


@contextmanager
def _inventory(lake: Lake, path: str, needed: set[str]) -> Iterator[str]:
    """A view of a table's files, less those that are needed, while Delta takes any time of retention."""
    spark = lake.spark
    listed_files = spark.read.format("binaryFile").option("recursiveFileLookup", "true").load(path)
    files = listed_files.select(
        "path",
        "length",
        F.when(F.col("length") >= 0, False).alias("isDir"),  # Delta insists on a column that may be null
        F.unix_millis("modificationTime").alias("modificationTime"),
    ).where(~F.col("path").contains(f"/{LOG}/"))
    kept = spark.createDataFrame([(_spelled_alike(url),) for url in sorted(needed)], "kept string")
    spelled = F.regexp_replace("path", SCHEME, "/")
    files = files.join(F.broadcast(kept), spelled == F.col("kept"), "left_anti")
    view, safe = "divspa_vacuum", "spark.databricks.delta.retentionDurationCheck.enabled"
    files.createOrReplaceTempView(view)
    spark.conf.set(safe, "false")
    try:
        yield view
    finally:
        spark.conf.unset(safe)
        spark.catalog.dropTempView(view)


def _spelled_alike(url: str) -> str:
    return re.sub(SCHEME, "/", url)


def days_before(root: str, oldest: date) -> list[str]:
    """The folders of checkpoints, reports, serving files and `refit` of earlier days."""
    found = []
    for folder in FOLDERS:
        for entry in listed(f"{root}/{folder}"):
            day = re.fullmatch(r"(?:ds=)?(\d{4}-\d{2}-\d{2})", entry.name)
            if day and date.fromisoformat(day[1]) < oldest:
                found.append(f"{root}/{folder}/{entry.name}")
    return found
