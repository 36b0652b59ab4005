"""Every run of a stage as one line of JSON on the log and one row of `job_runs`."""

import json
import logging
import re
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from divspa.config import Config
from divspa.errors import one_line
from divspa.lake.lineage import Lineage
from divspa.lake.tables import Lake
from divspa.lake.traffic import Traffic
from divspa.schemas import JOB_RUNS

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
    """Name what runs inside in Spark's UI and in Delta's histories, then log it, add its row to `job_runs` and
    tell the receiver of lineage.

    A run that cannot be recorded is a warning: neither it nor the error of its stage is lost to that.
    """
    context, error = lake.spark.sparkContext, None
    lineage = Lineage.of(run.stage, lake.root)
    jvm: Any = lake.spark._jvm
    processes = ("self", jvm.java.lang.ProcessHandle.current().pid())
    row = {**asdict(run), "started_at": datetime.now(UTC), "application_id": context.applicationId}
    row |= {"code_version": version("divspa"), "settings_hash": config.hash}
    lake.traffic = traffic = Traffic()
    context.setJobGroup(run.run_id, f"{run.stage} {run.ds}")
    lake.spark.conf.set(TAG, run.run_id)
    started = time.perf_counter()
    if lineage is not None:
        lineage.started()
    try:
        yield
    except BaseException as problem:
        error = one_line(problem)
        raise
    finally:
        row |= {
            "seconds": round(time.perf_counter() - started, 2),
            "status": "failed" if error else "succeeded",
            "rows_read": traffic.rows_read,
            "rows_written": traffic.rows_written,
            "versions_read": dict(traffic.versions_read),
            "versions_written": dict(traffic.versions_written),
            "peak_gb": _peak_gb(processes),
            "error": error,
        }
        logger.info(json.dumps({"event": "stage", **row}, default=str))
        if lineage is not None:
            lineage.ended(traffic, error)
        _add(lake, row)


def _add(lake: Lake, row: dict[str, Any]) -> None:
    """Add a row to job_runs and clear the names, or warn."""
    try:
        names = JOB_RUNS.names_within_day
        lake.append_with(JOB_RUNS, [tuple(row[name] for name in names)], row["ds"])
        lake.spark.conf.unset(TAG)
        for name in ("spark.jobGroup.id", "spark.job.description"):
            lake.spark.sparkContext.setLocalProperty(name, None)  # pyright: ignore[reportArgumentType]
    except Exception as problem:
        warning = {"event": "job_runs not written", "run_id": row["run_id"], "stage": row["stage"]}
        logger.warning(json.dumps(warning | {"error": one_line(problem)}))


def _peak_gb(processes: Iterable[object]) -> float:
    """What Linux remembers of the most that each of some processes held; one that has ended counts nothing."""
    kilobytes = 0
    for process in processes:
        with suppress(OSError):
            peak = re.search(r"VmHWM:\s*(\d+) kB", Path(f"/proc/{process}/status").read_text())
            kilobytes += int(peak[1]) if peak else 0
    return round(kilobytes / 1e6, 3)
