"""Spark's event logs read without Spark: what a stage spent its seconds on, and the trace of it."""

import json
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pytest

from divspa.profiling.costs import StageRun, costs_of, covered
from divspa.profiling.events import read_log
from divspa.profiling.trace import trace


def job(number: int, start: float, end: float, stages: list[int], about: str, run: str = "r") -> list[dict]:
    told = {"spark.jobGroup.id": run, "spark.job.description": about}
    begun = {"Event": "SparkListenerJobStart", "Job ID": number, "Submission Time": start * 1000, "Stage IDs": stages}
    return [
        begun | {"Properties": told},
        {"Event": "SparkListenerJobEnd", "Job ID": number, "Completion Time": end * 1000},
    ]


def task(stage: int, start: float, end: float, run: float, python: float = 0, ready: float = 0, gc: float = 0) -> dict:
    spent = [("time to run Python workers", python), ("time to start Python workers", ready / 4), ("data size", 1e9)]
    # One that is used again says here how long it idled.
    spent.append(("time to initialize Python workers", ready * 3 / 4 if ready else 50))
    return {
        "Event": "SparkListenerTaskEnd",
        "Stage ID": stage,
        "Task Info": {
            "Executor ID": "driver",
            "Launch Time": start * 1000,
            "Finish Time": end * 1000,
            "Accumulables": [{"Name": name, "Update": str(round(value * 1000))} for name, value in spent],
        },
        "Task Metrics": {"Executor Run Time": run * 1000, "Executor CPU Time": run * 5e8, "JVM GC Time": gc * 1000},
    }


EVENTS = [
    {"Event": "SparkListenerExecutorAdded", "Executor Info": {"Total Cores": 2}},
    *job(0, 101, 105, [0], "features 2024-01-01: write examples"),
    task(0, 101, 105, 4, python=3, ready=1),
    task(0, 101, 103, 1.5, gc=0.5),
    *job(1, 104, 107, [1, 2], "features 2024-01-01"),
    task(1, 104, 107, 3),
    *job(2, 108, 109, [3], "train 2024-01-01: write vectors"),
    task(3, 108, 109, 1, python=1),
    *job(3, 101, 109, [4], "of another command", run="other"),
    job(4, 108, 109, [5], "train 2024-01-01")[0],  # it never ended
    task(5, 108, 109, 1),
]
RUNS = [StageRun("r", "features", 100, 7.5), StageRun("r", "train", 107.5, 10)]


@pytest.fixture(params=["events_1_app.zstd", "app"])
def file(request, tmp_path: Path) -> str:
    lines = "".join(json.dumps(event, separators=(",", ":")) + "\n" for event in EVENTS).encode()
    path = tmp_path / request.param
    path.write_bytes(pa.compress(lines, "zstd", asbytes=True) if "zstd" in request.param else lines)
    return str(path)


def test_seconds_of_a_stage_are_jobs_tasks_python_and_the_driver_alone(file: str) -> None:
    features, train = costs_of(RUNS, read_log([file]))
    assert (features.job_count, features.task_count, features.seconds) == (2, 3, 7.5)
    assert features.driver == pytest.approx(1.5), "jobs that overlap count once"
    assert (features.tasks, features.python, features.python_start, features.gc) == (8.5, 3, 1, 0.5)
    assert (features.jvm, features.waiting, features.busy) == (5, 0.5, pytest.approx(8.5 / 12))
    assert features.largest == (("write examples", 4), ("other jobs", 3))
    assert (train.job_count, train.driver, train.python, train.busy) == (1, 9, 1, 0.5)


def test_the_log_of_a_killed_application_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    lines = "".join(json.dumps(event, separators=(",", ":")) + "\n" for event in EVENTS).encode()
    (tmp_path / "app").write_bytes(lines[: lines.index(b"write vectors")])
    log = read_log([str(tmp_path / "app")])
    assert [job.number for job in log.jobs] == [0, 1] and len(log.tasks) == 3


def test_the_trace_keeps_tasks_that_overlap_on_lanes_of_their_own(file: str) -> None:
    events = trace(RUNS, [read_log([file])])["traceEvents"]
    names = {event["pid"]: event["args"]["name"] for event in events if event["ph"] == "M"}
    assert names == {1: "stages", 2: "jobs of Spark", 3: "executor driver"}
    spans = [event for event in events if event["ph"] == "X"]
    assert next((e["name"], e["ts"], e["dur"]) for e in spans if e["pid"] == 1) == ("features", 100e6, 7.5e6)
    tasks = [event for event in spans if event["pid"] == 3]
    assert len(tasks) == 4 and {event["tid"] for event in tasks} == {1, 2}
    for lane in (1, 2):
        own = sorted((event["ts"], event["ts"] + event["dur"]) for event in tasks if event["tid"] == lane)
        assert all(before[1] <= after[0] for before, after in pairwise(own))


def test_spans_count_once_where_they_overlap() -> None:
    assert covered([]) == 0
    assert covered([(5, 6), (1, 3), (2, 4), (2.5, 3)]) == 4
