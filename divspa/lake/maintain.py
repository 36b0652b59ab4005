"""Stage `maintain`: small files joined, days past their time deleted, and files that nobody can need removed."""

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import PurePosixPath

from delta.tables import DeltaTable
from pyspark.sql import functions as F

from divspa.config import Config
from divspa.lake.conflicts import SPARK_ERRORS, is_conflict, retried
from divspa.lake.delta_log import oldest_version
from divspa.lake.driver_rows import of_driver
from divspa.lake.event_logs import entries_before, event_logs_before
from divspa.lake.lease import MAINTAIN, Lease
from divspa.lake.published import kept_versions, published
from divspa.lake.tables import Lake
from divspa.progress import console
from divspa.schemas import AUGMENTED_POSITIVES, CLICKS, CLICKS_QUARANTINE, EXAMPLES, TABLES, TRAINING_RUNS, Table
from divspa.storage import Entry, listed, remove

# The log itself: every day is made from all earlier ones, so these never age.
KEPT = (CLICKS, CLICKS_QUARANTINE)
# Training divides these among its processes by row group, so a day's files are left as they were written.
READ_IN_PARTS = (EXAMPLES, AUGMENTED_POSITIVES)
# Rows that were changed, of tables that have a change feed; Delta's vacuum removes these too.
CHANGES = "_change_data"
INVENTORY = "path string, length bigint, isDir boolean, modificationTime bigint"
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
        for path in unneeded(lake, table, pinned.get(table.name, set()), hours):
            _would_go(path)
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
    days = {date.fromisoformat(str(file.partition["ds"])) for file in lake.data_files(table)}
    return sorted(day for day in days if day < oldest)


def _compact(lake: Lake, table: Table, ds: date, file_mb: int) -> None:
    files = lake.data_files(table, ds=ds)
    small = Counter(tuple(file.partition.values()) for file in files if file.size < file_mb << 20)
    if max(small.values(), default=0) < 2:
        return
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
    """Remove files that no version of the last `hours` has, but for those of pinned versions, and empty folders."""
    _vacuum(lake, table, pinned, hours, "")


def unneeded(lake: Lake, table: Table, pinned: set[int], hours: float) -> list[str]:
    """The files and folders that `vacuum` would remove."""
    return _vacuum(lake, table, pinned, hours, "DRY RUN")


def _vacuum(lake: Lake, table: Table, pinned: set[int], hours: float, how: str) -> list[str]:
    """Delta itself knows no pins, so it is given an inventory of the files that may go; it keeps those of versions of
    the last `hours`.
    """
    files = _unpinned_files(lake, table, pinned, hours)
    if not files:  # which is most tables on most days, and Delta would take seconds to find out
        return []
    with _inventory(lake, table, files) as view:
        rows = lake.spark.sql(
            f"VACUUM {lake.name(table)} USING INVENTORY (SELECT * FROM {view}) RETAIN {hours} HOURS {how}"  # noqa: S608
        ).collect()
    return [row["path"] for row in rows]


def _unpinned_files(lake: Lake, table: Table, pinned: set[int], hours: float) -> list[Entry]:
    """The files of a table older than `hours` that neither its newest nor a pinned version has, and empty folders."""
    entries, before = listed(lake.path(table), recursive=True), datetime.now(UTC) - timedelta(hours=hours)
    needed = pinned_files(lake, table, pinned | {lake.version(table)})
    needed |= {str(PurePosixPath(entry.name).parent) for entry in entries}
    old = [entry for entry in entries if entry.written is not None and entry.written <= before]
    return [entry for entry in old if entry.name not in needed and not _of_delta(entry.name)]


def _of_delta(name: str) -> bool:
    """Whether a file in a table's folder is one of the log, or of a kind that Delta leaves alone."""
    return any(part.startswith(("_", ".")) and part != CHANGES for part in PurePosixPath(name).parts)


def pinned_files(lake: Lake, table: Table, pinned: set[int]) -> set[str]:
    """The files of some versions of a table, of those that its log still has, as names within its folder."""
    readable = [version for version in pinned if version >= oldest_version(lake.path(table))]
    return {file.name for version in readable for file in lake.data_files(table, version)}


@contextmanager
def _inventory(lake: Lake, table: Table, files: list[Entry]) -> Iterator[str]:
    """A view of files and folders of a table, while Delta takes any time of retention and notes nothing in the log."""
    spark, folder = lake.spark, lake.folder(table)
    rows = [(f"{folder}/{file.name}", file.size or 0, not file.is_file, _milliseconds(file.written)) for file in files]
    view, settings = "divspa_vacuum", ("retentionDurationCheck.enabled", "vacuum.logging.enabled")
    of_driver(spark, rows, INVENTORY).createOrReplaceTempView(view)
    for name in settings:
        spark.conf.set(f"spark.databricks.delta.{name}", "false")
    try:
        yield view
    finally:
        for name in settings:
            spark.conf.unset(f"spark.databricks.delta.{name}")
        spark.catalog.dropTempView(view)


def _milliseconds(at: datetime | None) -> int:
    return int(at.timestamp() * 1000) if at else 0


def days_before(root: str, oldest: date) -> list[str]:
    """The folders of checkpoints, reports, serving files and `refit` of earlier days."""
    found = []
    for folder in FOLDERS:
        for entry in listed(f"{root}/{folder}"):
            day = re.fullmatch(r"(?:ds=)?(\d{4}-\d{2}-\d{2})", entry.name)
            if day and date.fromisoformat(day[1]) < oldest:
                found.append(f"{root}/{folder}/{entry.name}")
    return found
