"""A day as a file for Perfetto (ui.perfetto.dev) and Chrome's tracing: stages, Spark's jobs, and tasks by core."""

from collections.abc import Iterable, Sequence
from typing import Any

from divspa.profiling.costs import StageRun
from divspa.profiling.events import Log, Task

STAGES, JOBS, FIRST_EXECUTOR = 1, 2, 3


def trace(runs: Sequence[StageRun], logs: Sequence[Log]) -> dict[str, Any]:
    """The trace event format: a process for stages, one for jobs and one for each executor, in microseconds."""
    jobs = [(job, job.about or f"job {job.number}") for log in logs for job in log.jobs]
    tasks = [(task, about) for log in logs for task, about in _with_subjects(log)]
    executors = {name: number for number, name in enumerate(sorted({t.executor for t, _ in tasks}), FIRST_EXECUTOR)}
    names = {STAGES: "stages", JOBS: "jobs of Spark"} | {n: f"executor {name}" for name, n in executors.items()}
    named = [{"ph": "M", "name": "process_name", "pid": pid, "args": {"name": name}} for pid, name in names.items()]
    spans = [*_lanes(STAGES, ((run.start, run.start + run.seconds, run.stage, {}) for run in runs))]
    spans += _lanes(JOBS, ((job.start, job.end, about, {"job": job.number}) for job, about in jobs))
    for executor, pid in executors.items():
        own = ((task, about) for task, about in tasks if task.executor == executor)
        spans += _lanes(pid, ((task.start, task.end, about, _told(task)) for task, about in own))
    return {"traceEvents": [*named, *spans], "displayTimeUnit": "ms"}


def _with_subjects(log: Log) -> list[tuple[Task, str]]:
    """Tasks with what their jobs are about."""
    about = {job.number: job.about or "task" for job in log.jobs}
    return [(task, about[task.job]) for task in log.tasks]


def _told(task: Task) -> dict[str, Any]:
    names = ("run", "cpu", "python", "python_start", "gc", "waiting")
    return {"job": task.job} | {name: round(getattr(task, name), 3) for name in names}


def _lanes(pid: int, spans: Iterable[tuple[float, float, str, dict[str, Any]]]) -> list[dict[str, Any]]:
    """Spans on as few lanes as keep any two that overlap apart."""
    free: list[float] = []
    events = []
    for start, end, name, told in sorted(spans, key=lambda span: span[:2]):
        lane = next((n for n, until in enumerate(free) if until <= start), len(free))
        if lane == len(free):
            free.append(end)
        free[lane] = end
        at = {"ts": round(start * 1e6), "dur": round((end - start) * 1e6)}
        events.append({"ph": "X", "pid": pid, "tid": lane + 1, "name": name, "args": told, **at})
    return events
