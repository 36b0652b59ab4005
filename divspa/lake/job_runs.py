"""Every run of a stage as one line of JSON on the log and one row of `job_runs`."""

import json
import logging
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from divspa.config import Config, fingerprint
from divspa.errors import one_line
from divspa.lake.tables import Lake, described
from divspa.lake.traffic import Traffic
from schemas import JOB_RUNS

logger = logging.getLogger(__name__)
TAG = "spark.databricks.delta.commitInfo.userMetadata"


@dataclass(frozen=True)
class Run:
    """One stage of one command."""

    run_id: str
    stage: str
    ds: date


@contextmanager
def recorded(lake: Lake, config: Config, run: Run) -> Iterator[None]:
    """Name what runs inside in Spark's UI and in Delta's histories, then log it and add its row to `job_runs`.

    A run that cannot be recorded is a warning: neither it nor the error of its stage is lost to that.
    """
    context, error = lake.spark.sparkContext, None
    lake.traffic = Traffic()
    started_at, started = datetime.now(UTC), time.perf_counter()
    context.setJobGroup(run.run_id, f"{run.stage} {run.ds}")
    lake.spark.conf.set(TAG, run.run_id)
    try:
        yield
    except BaseException as problem:
        error = one_line(problem)
        raise
    finally:
        seconds = round(time.perf_counter() - started, 2)
        try:
            _record(lake, config, run, {"started_at": started_at, "seconds": seconds, "error": error})
        except Exception as problem:
            logger.warning(json.dumps({"event": "job_runs not written", **_named(run), "error": one_line(problem)}))
        lake.spark.conf.unset(TAG)
        for name in ("spark.jobGroup.id", "spark.job.description"):
            context.setLocalProperty(name, None)  # pyright: ignore[reportArgumentType]


def _record(lake: Lake, config: Config, run: Run, measured: dict[str, Any]) -> None:
    traffic = lake.traffic
    row = {
        **_named(run),
        **measured,
        "status": "failed" if measured["error"] else "succeeded",
        "rows_read": traffic.rows_read,
        "rows_written": traffic.rows_written,
        "versions_read": traffic.versions_read,
        "versions_written": traffic.versions_written,
        "peak_gb": _peak_gb(lake),
        "application_id": lake.spark.sparkContext.applicationId,
        "code_version": version("divspa"),
        "settings_hash": fingerprint(config),
    }
    logger.info(json.dumps({"event": "stage", **row}, default=str))
    names = [name for name in JOB_RUNS.column_names if name != "ds"]
    with described(lake.spark, "record"):
        lake.append_with(JOB_RUNS, [tuple(row[name] for name in names)], run.ds)


def _named(run: Run) -> dict[str, Any]:
    return {"run_id": run.run_id, "stage": run.stage, "ds": str(run.ds)}


def _peak_gb(lake: Lake) -> float:
    """What Linux remembers of this process and the driver's JVM."""
    jvm: Any = lake.spark._jvm
    peaks = (
        re.search(r"VmHWM:\s*(\d+) kB", Path(f"/proc/{process}/status").read_text())
        for process in ("self", jvm.java.lang.ProcessHandle.current().pid())
    )
    return round(sum(int(peak[1]) for peak in peaks if peak) / 1e6, 3)
