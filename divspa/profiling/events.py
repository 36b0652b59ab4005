"""Jobs and tasks out of Spark's event logs; no Spark is needed to read them."""

import io
import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from divspa.storage import read_file

STARTED, ENDED, TASK, ADDED = (f"SparkListener{kind}" for kind in ("JobStart", "JobEnd", "TaskEnd", "ExecutorAdded"))
KINDS = tuple(f'{{"Event":"{kind}"'.encode() for kind in (STARTED, ENDED, TASK, ADDED))
STARTING, INITIALISING, RUNNING = (f"time to {what} Python workers" for what in ("start", "initialize", "run"))


@dataclass(frozen=True)
class Job:
    """One job of Spark, in seconds since 1970: the run that began it, and what that called it."""

    number: int
    run_id: str
    about: str
    start: float
    end: float


@dataclass(frozen=True)
class Task:
    """One task of the job of a number, its span in seconds since 1970 and what it was spent on, in seconds.

    `run` is what the task itself took; within it `python` are its Python workers, which also wait for what the JVM
    hands them, and `python_start` what they took to be ready; `gc` is that of the whole JVM meanwhile. `waiting` is for
    other tasks' output, for a core and for the result to be sent.
    """

    job: int
    executor: str
    start: float
    end: float
    run: float
    cpu: float
    python: float
    python_start: float
    gc: float
    waiting: float


@dataclass(frozen=True)
class Log:
    """What one application did: the jobs that ended, their tasks, and the cores of all executors that it ever had."""

    jobs: list[Job]
    tasks: list[Task]
    cores: int


def read_log(files: Iterable[str]) -> Log:
    """Read the files of one application, in the order in which they were written.

    They are JSON lines, as they are or as zstd; one that is cut short is read as far as it goes.
    """
    begun: dict[int, tuple[str, str, float]] = {}
    job_of_stage: dict[int, int] = {}
    jobs: dict[int, Job] = {}
    tasks: list[Task] = []
    cores = 0
    for event in _events(files):
        if event["Event"] == STARTED:
            told, number = event.get("Properties") or {}, event["Job ID"]
            about = told.get("spark.job.description") or ""
            begun[number] = (told.get("spark.jobGroup.id") or "", about, event["Submission Time"] / 1000)
            for stage in event["Stage IDs"]:
                job_of_stage.setdefault(stage, number)
        elif event["Event"] == ENDED:
            run_id, about, start = begun[event["Job ID"]]
            jobs[event["Job ID"]] = Job(event["Job ID"], run_id, about, start, event["Completion Time"] / 1000)
        elif event["Event"] == ADDED:
            cores += event["Executor Info"]["Total Cores"]
        elif event["Stage ID"] in job_of_stage:
            tasks.append(_task(job_of_stage[event["Stage ID"]], event))
    return Log(list(jobs.values()), [task for task in tasks if task.job in jobs], max(cores, 1))


def _events(files: Iterable[str]) -> Iterator[dict[str, Any]]:
    for path in files:
        content = pa.BufferReader(read_file(path))
        stream = pa.CompressedInputStream(content, "zstd") if ".zstd" in path.rpartition("/")[2] else content
        raw: Any = stream  # in all but name
        with suppress(OSError, ValueError):  # of an application that was killed
            for line in io.BufferedReader(raw):
                if line.startswith(KINDS):
                    yield json.loads(line)


def _task(job: int, event: dict[str, Any]) -> Task:
    info, spent = event["Task Info"], event.get("Task Metrics") or {}
    python: dict[str, float] = dict.fromkeys((STARTING, INITIALISING, RUNNING), 0.0)
    for part in info["Accumulables"]:
        if (name := part.get("Name")) in python:
            python[name] += float(part.get("Update") or 0) / 1000
    # A worker that is used again takes no time to start, and counts what it idled before as its initialisation.
    ready = python[STARTING] + python[INITIALISING] if python[STARTING] else 0.0
    start, end = info["Launch Time"] / 1000, info["Finish Time"] / 1000
    run = spent.get("Executor Run Time", 0) / 1000
    fetched = (spent.get("Shuffle Read Metrics") or {}).get("Fetch Wait Time", 0) / 1000
    return Task(
        job=job,
        executor=info["Executor ID"],
        start=start,
        end=end,
        run=run,
        cpu=spent.get("Executor CPU Time", 0) / 1e9,
        gc=spent.get("JVM GC Time", 0) / 1000,
        waiting=fetched + max(0.0, end - start - run),
        python=python[RUNNING],
        python_start=min(ready, python[RUNNING]),
    )
