"""The last days of a lake: what each took, how good it was, what stopped it, and what is published of it."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date

from pyspark.sql import functions as F

from divspa.lake.published import published
from divspa.lake.tables import Lake
from divspa.schemas import CHANNELS, FEATURE_GATES, JOB_RUNS, METRICS

# Quality that is told of a day, of the newest evaluation.
TOLD = ("hr@50", "ndcg@50", "distinct@100")
ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


@dataclass
class DayRun:
    """One day: seconds and status of the newest run of each stage, gates that failed, and figures by model and metric.

    `channel` is what the day would publish or has published, None before `evaluate` and for a day that is held back;
    `is_published` says whether readers read this day now.
    """

    ds: date
    seconds: dict[str, float] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    rows_written: dict[str, int] = field(default_factory=dict)
    gates: list[str] = field(default_factory=list)
    metrics: dict[str, dict[str, float]] = field(default_factory=dict)
    channel: str | None = None
    is_published: bool = False


def last_days(lake: Lake, count: int) -> list[DayRun]:
    """The newest days on which a stage ran, from the newest back; none in a lake without runs."""
    if not lake.exists(JOB_RUNS):
        return []
    newest = lake.read(JOB_RUNS).select("ds").distinct().orderBy(F.desc("ds")).limit(count).collect()
    days = {row.ds: DayRun(row.ds) for row in newest}
    among = F.col("ds").isin(*days)
    # A stage that ran again is told by its newest run.
    for row in lake.read(JOB_RUNS).where(among).orderBy("started_at").collect():
        day = days[row.ds]
        day.seconds[row.stage] = row.seconds
        day.rows_written |= row.rows_written
        day.failed.pop(row.stage, None)
        if row.status == "failed":
            day.failed[row.stage] = row.error or ""
    for row in lake.rows(FEATURE_GATES, among & ~F.col("passed")):
        days[row.ds].gates.append(f"{row.figure} {row.field}".strip())
    for row in lake.rows(METRICS, among & (F.col("slice") == "all") & F.col("metric").isin(*TOLD)):
        days[row.ds].metrics.setdefault(row.model, {})[row.metric] = row.value
    for row in lake.rows(CHANNELS, among & F.col("published")):
        days[row.ds].channel = row.channel
    current = published(lake)
    if current is not None and current.ds in days:
        days[current.ds].is_published = True
    return list(days.values())


def as_prometheus(days: Iterable[DayRun]) -> str:
    """The days as one page in Prometheus' text format, for a push gateway or the textfile collector."""
    days = list(days)
    kinds: dict[str, tuple[str, list[tuple[dict[str, str], float]]]] = {
        "divspa_stage_seconds": ("Wall seconds of the newest run of a stage", []),
        "divspa_stage_succeeded": ("Whether the newest run of a stage succeeded", []),
        "divspa_rows_written": ("Rows written to a table", []),
        "divspa_gates_failed": ("Figures of the day's features beyond their limit", []),
        "divspa_quality": ("A metric of a model on the test events", []),
        "divspa_published": ("Whether readers read this day", []),
    }
    for name, labels, value in (sample for day in days for sample in _samples(day)):
        kinds[name][1].append((labels, value))
    lines: list[str] = []
    for name, (told, samples) in kinds.items():
        lines += [f"# HELP {name} {told}", f"# TYPE {name} gauge"]
        lines += [f"{name}{{{_labels(labels)}}} {value:g}" for labels, value in samples]
    return "\n".join(lines) + "\n"


def _samples(day: DayRun) -> Iterator[tuple[str, dict[str, str], float]]:
    ds = {"ds": str(day.ds)}
    for stage, seconds in day.seconds.items():
        yield "divspa_stage_seconds", ds | {"stage": stage}, seconds
        yield "divspa_stage_succeeded", ds | {"stage": stage}, float(stage not in day.failed)
    for table, rows in day.rows_written.items():
        yield "divspa_rows_written", ds | {"table": table}, rows
    for model, metrics in day.metrics.items():
        for metric, value in metrics.items():
            yield "divspa_quality", ds | {"model": model, "metric": metric}, value
    yield "divspa_gates_failed", ds, len(day.gates)
    yield "divspa_published", ds, float(day.is_published)


def _labels(labels: Mapping[str, str]) -> str:
    return ",".join(f'{key}="{value.translate(ESCAPES)}"' for key, value in labels.items())
