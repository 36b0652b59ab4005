"""What each stage of a day spent its seconds on."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from divspa.profiling.events import Job, Log

LARGEST = 3


@dataclass(frozen=True)
class StageRun:
    """A run of a stage as `job_runs` has it; times in seconds since 1970."""

    run_id: str
    stage: str
    start: float
    seconds: float


@dataclass(frozen=True)
class Costs:
    """The seconds of one stage. Those of tasks are summed over all cores.

    While no job of Spark runs, the `driver` works alone: planning, commits, training, and what FAISS does on it. Of the
    `tasks`, `python` is within its workers (of which `python_start` until they are ready), `gc` in the JVM's collector,
    and `jvm` all else; `waiting` comes beside them. `busy` is the share of the cores that tasks held while jobs ran.
    `largest` are the jobs that took longest, by what they were about.
    """

    stage: str
    seconds: float
    driver: float
    tasks: float
    python: float
    python_start: float
    jvm: float
    gc: float
    waiting: float
    busy: float
    job_count: int
    task_count: int
    largest: tuple[tuple[str, float], ...]


def costs_of(runs: Sequence[StageRun], log: Log) -> list[Costs]:
    """The costs of each run of a stage, from what its application did."""
    return [_costs(run, _own_jobs(run, log.jobs), log) for run in runs]


def _own_jobs(run: StageRun, jobs: Sequence[Job]) -> list[Job]:
    """One command runs several stages, one after the other."""
    end = run.start + run.seconds
    return [job for job in jobs if job.run_id == run.run_id and run.start - 0.5 <= job.start <= end]


def _costs(run: StageRun, jobs: list[Job], log: Log) -> Costs:
    numbers = {job.number for job in jobs}
    own = [task for task in log.tasks if task.job in numbers]
    in_jobs = covered([(job.start, job.end) for job in jobs])
    total, python = sum(task.run for task in own), sum(min(task.python, task.run) for task in own)
    gc = sum(task.gc for task in own)
    by_subject: dict[str, float] = defaultdict(float)
    for job in jobs:
        by_subject[job.about.partition(": ")[2] or "other jobs"] += job.end - job.start
    largest = sorted(by_subject.items(), key=lambda each: -each[1])[:LARGEST]
    return Costs(
        stage=run.stage,
        seconds=run.seconds,
        driver=max(0.0, run.seconds - in_jobs),
        tasks=total,
        python=python,
        python_start=sum(task.python_start for task in own),
        jvm=max(0.0, total - python - gc),
        gc=gc,
        waiting=sum(task.waiting for task in own),
        busy=min(1.0, total / (log.cores * in_jobs)) if in_jobs else 0.0,
        job_count=len(jobs),
        task_count=len(own),
        largest=tuple(largest),
    )


def covered(spans: Sequence[tuple[float, float]]) -> float:
    """How many seconds lie in at least one of the spans."""
    total, until = 0.0, float("-inf")
    for start, end in sorted(spans):
        total += max(0.0, end - max(start, until))
        until = max(until, end)
    return total
