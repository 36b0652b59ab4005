"""Stage `maintain`: small files joined, days past their time deleted, and files that nobody can need removed."""

import re
from datetime import date, datetime, timedelta

from delta.tables import DeltaTable
from pyarrow import fs
from pyspark.sql import functions as F

from divspa.config import Config
from divspa.lake.tables import Lake, local_path
from divspa.progress import console
from divspa.storage import locate, remove_folder
from schemas import AUGMENTED_POSITIVES, CLICKS, CLICKS_QUARANTINE, EXAMPLES, TABLES, TRAINING_RUNS, Table

# The log itself: every day is made from all earlier ones, so these never age.
LOG = (CLICKS, CLICKS_QUARANTINE)
# Training divides these among its processes by row group, so a day's files are left as they were written.
READ_IN_PARTS = (EXAMPLES, AUGMENTED_POSITIVES)
SCHEME = "^[a-z0-9]+:/*"
FOLDERS = ("checkpoints", "reports", "serving")


def maintain(lake: Lake, config: Config, ds: date) -> None:
    """Join the day's small files, delete days older than `maintain.keep_days`, and vacuum what no model pins.

    A model that was trained within `maintain.pinned_days` can still be traced to what it read: the files of those
    versions are kept. While a training is under way (a resume point lies in its folder) nothing is vacuumed, because it
    pins versions that no table names yet. Can be run again, and at any time between other stages.
    """
    settings = config.maintain
    tables = [table for table in TABLES.values() if lake.exists(table)]
    for table in tables:
        if table not in READ_IN_PARTS:
            _compact(lake, table, ds, settings.file_mb)
    if settings.keep_days:
        oldest = ds - timedelta(days=settings.keep_days - 1)
        for table in tables:
            if table not in LOG:
                DeltaTable.forPath(lake.spark, lake.path(table)).delete(F.col("ds") < F.lit(oldest))
        for folder in days_before(lake.root, oldest) + event_logs_before(config.event_log, oldest):
            remove_folder(folder)
    if running := resume_points(lake.root):
        console.print(f"Nothing is vacuumed: a training is under way in {running[0]}", soft_wrap=True)
        return
    pinned = pinned_versions(lake, ds - timedelta(days=settings.pinned_days - 1))
    for table in tables:
        vacuum(lake, table, pinned.get(table.name, set()), settings.vacuum_hours)


def _compact(lake: Lake, table: Table, ds: date, file_mb: int) -> None:
    lake.spark.conf.set("spark.databricks.delta.optimize.maxFileSize", str(file_mb << 20))
    lake.spark.conf.set("spark.databricks.delta.optimize.minFileSize", str(file_mb << 20))
    DeltaTable.forPath(lake.spark, lake.path(table)).optimize().where(f"ds = '{ds}'").executeCompaction()


def pinned_versions(lake: Lake, since: date) -> dict[str, set[int]]:
    """The versions of each table that the models trained since a day have read."""
    pinned: dict[str, set[int]] = {}
    if lake.exists(TRAINING_RUNS):
        for row in lake.read(TRAINING_RUNS).where(F.col("ds") >= F.lit(since)).select("versions").collect():
            for name, version in row["versions"].items():
                pinned.setdefault(name, set()).add(version)
    return pinned


def vacuum(lake: Lake, table: Table, pinned: set[int], hours: float) -> None:
    """Remove files that no version of the last `hours` has, but for those of pinned versions.

    Delta itself knows no pins, so it is given an inventory of the files that may go.
    """
    spark, path = lake.spark, lake.path(table)
    needed = {local_path(url) for version in pinned for url in lake.read(table, version).inputFiles()}
    listed = spark.read.format("binaryFile").option("recursiveFileLookup", "true").load(path)
    files = listed.select(
        "path",
        "length",
        F.when(F.col("length") >= 0, False).alias("isDir"),  # Delta insists on a column that may be null
        F.unix_millis("modificationTime").alias("modificationTime"),
    ).where(~F.col("path").contains("/_delta_log/"))
    kept = spark.createDataFrame([(_spelled_alike(url),) for url in sorted(needed)], "kept string")
    spelled = F.regexp_replace("path", SCHEME, "/")
    files = files.join(F.broadcast(kept), spelled == F.col("kept"), "left_anti")
    files.createOrReplaceTempView("divspa_vacuum")
    safe = "spark.databricks.delta.retentionDurationCheck.enabled"
    spark.conf.set(safe, "false")
    try:
        spark.sql(f"VACUUM delta.`{path}` USING INVENTORY (SELECT * FROM divspa_vacuum) RETAIN {hours} HOURS")  # noqa: S608
    finally:
        spark.conf.unset(safe)
        spark.catalog.dropTempView("divspa_vacuum")


def _spelled_alike(url: str) -> str:
    return re.sub(SCHEME, "/", url)


def days_before(root: str, oldest: date) -> list[str]:
    """The folders of checkpoints, reports and serving files of earlier days."""
    found = []
    for folder in FOLDERS:
        for info in _listed(f"{root}/{folder}", recursive=False):
            day = re.fullmatch(r"ds=(\d{4}-\d{2}-\d{2})", info.base_name)
            if day and date.fromisoformat(day[1]) < oldest:
                found.append(f"{root}/{folder}/{info.base_name}")
    return found


def event_logs_before(folder: str | None, oldest: date) -> list[str]:
    """The folders of Spark's event logs, one an application, that were last written before a day."""
    if folder is None:
        return []
    written: dict[str, datetime] = {}
    top = locate(folder)[1]
    for info in _listed(folder, recursive=True):
        log, inside, _ = info.path.removeprefix(f"{top}/").partition("/")
        last: datetime | None = info.mtime
        if inside and last is not None:
            written[log] = max(last, written[log]) if log in written else last
    return [f"{folder}/{log}" for log, last in written.items() if last.date() < oldest]


def resume_points(root: str) -> list[str]:
    """The folders of trainings that have begun and not ended."""
    return [info.path for info in _listed(f"{root}/checkpoints", recursive=True) if info.path.endswith("/resume")]


def _listed(url: str, *, recursive: bool) -> list[fs.FileInfo]:
    system, folder = locate(url)
    return system.get_file_info(fs.FileSelector(folder, allow_not_found=True, recursive=recursive))
