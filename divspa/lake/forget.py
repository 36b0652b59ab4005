"""A person is forgotten: the rows, files and old versions that tell of one user leave the lake."""

import html
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa
from delta.tables import DeltaTable
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from divspa.config import Config
from divspa.lake.conflicts import retried
from divspa.lake.delta_log import forget_older_entries
from divspa.lake.event_logs import event_logs_before
from divspa.lake.maintain import held_tables, vacuum
from divspa.lake.refitted import refit_lakes
from divspa.lake.tables import Lake
from divspa.schemas import JOB_RUNS, TABLES, TRAINING_RUNS, VOCABULARY, Table
from divspa.storage import listed, locate, read_file, remove, size_of

CHUNK = 1 << 20
FORGOTTEN = "forgotten:"
NAMED_A_PERSON = "not kept: it may have named a person who was forgotten"
# What tells of a user in each table, `t`; `s` is the one row of what is looked for. No text of these holds an id, as
# Delta keeps them in its log.
BY_COLUMN = {"user_id": "t.user_id = s.user_id", "user_key": "t.user_key = s.user_key", "row": "t.row RLIKE s.in_json"}
IN_VOCABULARY = "t.field = 'user_id' AND t.value = s.user_id"
IN_ERRORS = "t.error RLIKE s.word"
MODEL = ("ds", "model", "model_version")


@dataclass
class Forgotten:
    """What was taken out: rows of each table, reports, event logs; and the models that learned from the user."""

    rows: dict[str, int] = field(default_factory=dict)
    reports: list[str] = field(default_factory=list)
    event_logs: list[str] = field(default_factory=list)
    models: list[str] = field(default_factory=list)


def forget(lake: Lake, config: Config, user: str, *, vacuum_now: bool) -> Forgotten:
    """Take a user out of every table, report and event log of the lake; old versions too when vacuumed now.

    The vocabulary keeps the index of a user's own id, which nobody else may be given, without the id. Without
    `vacuum_now` old versions hold the rows until `maintain` vacuums them. With it no older version can be read any
    more, pinned or not. Runs alone, and can be run again. What lies outside the lake, such as the click log, stays.
    """
    done = Forgotten(models=_models_that_learned(lake, user))
    sought = _sought(lake, user)
    for table in held_tables(lake):
        if condition := _condition(table):
            count = lake.read(table).alias("t").join(sought.alias("s"), F.expr(condition)).count()
            if count:
                retried(table.name, lambda table=table: _take_out(lake, table, sought))
                done.rows[table.name] = count
        if condition and vacuum_now:
            vacuum(lake, table, set(), 0.0)
            forget_older_entries(lake.spark, lake.path(table), lake.name(table))
    done.reports = [path for path in _reports(lake) if _named_in(read_file(path).decode(errors="replace"), user)]
    logs = event_logs_before(lake, config.event_log, date.max)
    done.event_logs = [path for path in logs if any(_in_log(file, user.encode()) for file in _files(path))]
    # What `refit` read can be made anew from this lake; files of trials are left by a killed `tune` alone.
    for path in [*done.reports, *done.event_logs, *_read_by_refit(lake), f"{lake.root}/tuning"]:
        remove(path)
    for name, count in done.rows.items():
        lake.traffic.wrote(name, lake.version(TABLES[name]), {}, count)
    return done


def today() -> date:
    """The day under which `job_runs` holds that it was done."""
    return datetime.now(UTC).date()


def _sought(lake: Lake, user: str) -> DataFrame:
    """One row: what a user's rows hold, and patterns of texts that name one."""
    quoted = re.escape(json.dumps(user, ensure_ascii=False)[1:-1])
    patterns = (rf'[:\[,]"?{quoted}"?[,}}\]]', _word(user))
    row = lake.spark.createDataFrame([(user, *patterns)], "user_id string, in_json string, word string")
    return row.withColumn("user_key", F.xxhash64("user_id"))


def _condition(table: Table) -> str | None:
    if table == VOCABULARY:
        return IN_VOCABULARY
    if table == JOB_RUNS:
        return IN_ERRORS
    return next((text for name, text in BY_COLUMN.items() if name in table.column_names), None)


def _take_out(lake: Lake, table: Table, sought: DataFrame) -> None:
    condition = _condition(table)
    merge = DeltaTable.forPath(lake.spark, lake.path(table)).alias("t").merge(sought.alias("s"), str(condition))
    if table == VOCABULARY:
        merge = merge.whenMatchedUpdate(set={"value": F.concat(F.lit(FORGOTTEN), F.col("t.index"))})
    elif table == JOB_RUNS:
        merge = merge.whenMatchedUpdate(set={"error": F.lit(NAMED_A_PERSON)})
    else:
        merge = merge.whenMatchedDelete()
    merge.execute()


def _models_that_learned(lake: Lake, user: str) -> list[str]:
    """The models of the user's first day and of all later ones: each day is made from all before it."""
    held = {table.name: table for table in held_tables(lake)}
    days = [
        lake.read(held[name]).where(F.col("user_id") == F.lit(user)).agg(F.min("ds")).head()
        for name in ("clicks", "examples")
        if name in held
    ]
    known = [day[0] for day in days if day is not None and day[0] is not None]
    if not known or TRAINING_RUNS.name not in held:
        return []
    runs = lake.read(TRAINING_RUNS).where(F.col("ds") >= F.lit(min(known)))
    for ds, again in refit_lakes(lake).items():
        if ds >= min(known) and again.exists(TRAINING_RUNS):
            runs = runs.unionByName(again.read(TRAINING_RUNS).where(F.col("ds") == F.lit(ds)))
    return [f"{ds} {model} {version}" for ds, model, version in sorted(runs.select(*MODEL).collect())]


def _read_by_refit(lake: Lake) -> list[str]:
    """The tables that tell of users, in the lakes of `refit`."""
    tables = [table for table in TABLES.values() if _condition(table)]
    return [again.path(table) for again in refit_lakes(lake).values() for table in tables]


def _reports(lake: Lake) -> Iterator[str]:
    folder = f"{lake.root}/reports"
    return (f"{folder}/{entry.name}" for entry in listed(folder, recursive=True) if entry.is_file)


def _files(path: str) -> list[str]:
    """A file, or those of a folder."""
    if size_of(path) is not None:
        return [path]
    return [f"{path}/{entry.name}" for entry in listed(path, recursive=True) if entry.is_file]


def _word(user: str) -> str:
    return rf"(?<!\w){re.escape(user)}(?!\w)"


def _named_in(text: str, user: str) -> bool:
    return any(re.search(_word(user), spelled) for spelled in (text, html.unescape(text)))


def _in_log(path: str, wanted: bytes) -> bool:
    """Whether an event log holds some bytes; one that cannot be read through is taken to."""
    system, file = locate(path)
    stream: Any = system.open_input_stream(file, compression="zstd" if ".zst" in path else None)
    carried = b""
    try:
        while chunk := stream.read(CHUNK):
            if wanted in carried + chunk:
                return True
            carried = chunk[-len(wanted) :]
    except (OSError, pa.ArrowInvalid):
        return True
    return False
