"""The profile of a day of a lake."""

from dataclasses import dataclass
from datetime import date

from pyspark.sql import Window
from pyspark.sql import functions as F

from divspa.errors import MissingTableError
from divspa.lake.event_logs import logs_of
from divspa.lake.tables import Lake
from divspa.profiling.costs import Costs, StageRun, costs_of
from divspa.profiling.events import Log, read_log
from divspa.schemas import JOB_RUNS


@dataclass(frozen=True)
class Profile:
    """The costs of a day's stages, in the order in which they ran, and what they are made of."""

    costs: list[Costs]
    runs: list[StageRun]
    logs: list[Log]


def profile(lake: Lake, ds: date, folder: str | None) -> Profile:
    """Profile the last good run of each stage of a day by the event logs in a folder.

    Raises MissingTableError where the day has no run, or none of its runs has left an event log.
    """
    newest = Window.partitionBy("stage").orderBy(F.desc("started_at"))
    ran = lake.read_day(JOB_RUNS, ds).where("status = 'succeeded'").withColumn("nth", F.row_number().over(newest))
    columns = "application_id", "run_id", "stage", F.col("started_at").cast("double").alias("start"), "seconds"
    rows = ran.where("nth = 1").orderBy("started_at").select(*columns).collect()
    logs = logs_of(folder, {row["application_id"] for row in rows}) if folder else {}
    if not logs:
        raise MissingTableError(
            f"There is no event log of {ds} in {folder or 'this lake'}",
            found=f"{len(rows)} runs of stages",
            remedy="set `spark.event_log`, and run the day again",
        )
    found = Profile([], [], [])
    for application in dict.fromkeys(row["application_id"] for row in rows if row["application_id"] in logs):
        log = read_log(logs[application])
        runs = [StageRun(*row[1:]) for row in rows if row["application_id"] == application]
        found.costs.extend(costs_of(runs, log))
        found.runs.extend(runs)
        found.logs.append(log)
    return found
