"""Spark's event logs that the runs of this lake wrote: other teams may keep theirs in the same folder.

The manifest is the folder `applications` of the lake, with an empty file for each application that logs its events; it
is written before the first stage, so a run that was killed is in it too. `job_runs` names those of older lakes.
"""

import re
from datetime import date, datetime

from pyspark.sql import functions as F

from divspa.lake.tables import Lake
from divspa.schemas import JOB_RUNS
from divspa.storage import listed, write_file

MANIFEST = "applications"
# How Spark names a log: rolling ones are folders, compressed ones end in their codec.
NAME = re.compile(r"(?:eventlog_v2_)?(?P<log>.+?)(?:\.(?:zstd|lz4|lzf|snappy))?(?:\.inprogress)?")
ATTEMPT = re.compile(r"_\d+$")


def enter_in_manifest(lake: Lake, folder: str | None) -> None:
    """Note that this application logs its events to a folder; nothing where it logs none, or elsewhere."""
    context = lake.spark.sparkContext
    if folder is not None and context.getConf().get("spark.eventLog.dir") == folder:
        write_file(_entry(lake, context.applicationId), b"")


def event_logs_before(lake: Lake, folder: str | None, oldest: date) -> list[str]:
    """The event logs in a folder that runs of this lake wrote, and that were last written before a day."""
    if folder is None:
        return []
    old = [name for name, last in _last_written(folder).items() if last.date() < oldest]
    ours = _applications(lake) if old else set()
    return [f"{folder}/{name}" for name in old if _application_of(name, ours)]


def logs_of(folder: str, applications: set[str]) -> dict[str, list[str]]:
    """The files of the event logs that some applications wrote to a folder, in the order in which they were written."""
    spelled = {_spelled(application): application for application in applications}
    files: dict[str, list[str]] = {}
    for entry in listed(folder, recursive=True):
        log, _, part = entry.name.partition("/")
        ours = _application_of(log, set(spelled))
        if ours is not None and entry.is_file and (not part or part.startswith("events_")):
            files.setdefault(spelled[ours], []).append(entry.name)
    return {name: [f"{folder}/{file}" for file in sorted(own, key=_number)] for name, own in files.items()}


def _number(file: str) -> int:
    """The place of a file in a rolling log: its name begins with events_NUMBER."""
    found = re.search(r"/events_(\d+)_", file)
    return int(found[1]) if found else 0


def entries_before(lake: Lake, folder: str | None, oldest: date) -> list[str]:
    """The entries of the manifest made before a day whose log is not in the folder, or not any longer."""
    entries = listed(f"{lake.root}/{MANIFEST}")
    names = {entry.name for entry in entries if entry.written and entry.written.date() < oldest}
    logged = {_application_of(name, names) for name in _last_written(folder)} if folder and names else set()
    return [f"{lake.root}/{MANIFEST}/{name}" for name in sorted(names - logged)]


def _last_written(folder: str) -> dict[str, datetime]:
    """When each log of a folder was last written; a rolling log is a folder of several files."""
    written: dict[str, datetime] = {}
    for entry in listed(folder, recursive=True):
        if entry.is_file and entry.written is not None:
            log = entry.name.partition("/")[0]
            written[log] = max(entry.written, written.get(log, entry.written))
    return written


def _application_of(name: str, applications: set[str]) -> str | None:
    """Which of some applications wrote a log; its name may end in the number of an attempt."""
    found = NAME.fullmatch(name)
    spelled = found["log"] if found else name
    return next((text for text in (spelled, ATTEMPT.sub("", spelled)) if text in applications), None)


def _applications(lake: Lake) -> set[str]:
    """The applications of this lake, as the names of their logs spell them."""
    entered = {entry.name for entry in listed(f"{lake.root}/{MANIFEST}")}
    if not lake.exists(JOB_RUNS):
        return entered
    rows = lake.read(JOB_RUNS).agg(F.collect_set("application_id")).head()
    return entered | set(map(_spelled, rows[0]))  # pyright: ignore[reportOptionalSubscript]


def _entry(lake: Lake, application: str) -> str:
    return f"{lake.root}/{MANIFEST}/{_spelled(application)}"


def _spelled(application: str) -> str:
    """As Spark spells an application in the name of its log (Utils.sanitizeDirName)."""
    return re.sub("[.${}'\"]", "_", re.sub("[ :/]", "-", application)).lower()
