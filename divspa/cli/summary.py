"""What a run prints at its end: models beside each other, what is published, and where to read on."""

from datetime import date
from typing import Any

from rich.markup import escape
from rich.table import Table as RichTable

from divspa.config import Config
from divspa.progress import console


def show_summary(summary: dict[str, Any], config: Config) -> None:
    """Print what a run came to, and how to read what it wrote."""
    if summary["models"]:
        show_models(summary["models"], summary["comparisons"], config)
    if told := summary["published"]:
        rows = (row for row in summary["comparisons"] if row["model"] == told["channel"])
        found = next(row for row in rows if row["metric"] == f"hr@{config.evaluation.ks[0]}")
        gain = f"{found['relative']:+.1%} {found['metric']} against {told['against']} ({found['verdict']})"
        console.print(f"Published: {told['channel']}, {gain}: {told['why']}", soft_wrap=True, highlight=False)
    report = f"   report: {summary['report']}" if summary["report"] else ""
    console.print(f"Delta tables: {summary['lake']}{report}", soft_wrap=True, highlight=False, markup=False)
    table = f"{summary['lake']}/{_read_first(list(summary['stages']))}"
    for line in (
        f"with Spark:    spark.read.format('delta').load('{table}')",
        f"without Spark: polars.read_delta('{table}')",
    ):
        console.print(f"  {line}", soft_wrap=True, highlight=False, markup=False)
    console.print(f"All done in {summary['seconds']} s.", highlight=False)


def _read_first(stages: list[str]) -> str:
    """The table that a reader of what these stages wrote begins with."""
    tables = {
        "build_features": "examples",
        "train_base": "item_embeddings",
        "maintain": "job_runs",
        "evaluate": "metrics",
    }
    return "augmented_positives" if "augment" in stages else tables.get(stages[-1], "recall_u2i")


def show_models(models: dict[str, dict[str, float]], comparisons: list[dict[str, Any]], config: Config) -> None:
    """Print the metrics of the main models beside each other, and what the difference is worth."""
    base, ours = config.model.name, "divspa"
    shown = [name for name in ("popularity", "linear", base, ours) if name in models]
    table = RichTable(title="Ranking the whole catalogue for every test event")
    table.add_column("metric", no_wrap=True)
    for name in [*shown, "change", "95 %"]:
        table.add_column(name, justify="right")
    table.add_column("test")
    table.caption = (
        "95 %: interval of the change. Test: paired t over users, p < .05 after Holm; -: no difference shown"
    )
    tested = {row["metric"]: row for row in comparisons if row["model"] == ours}
    measured = config.evaluation
    for metric in ("hr", "ndcg", "distinct", "coverage"):
        for k in measured.ks if metric in ("hr", "ndcg") else measured.diversity_ks:
            values = [models[name][f"{metric}@{k}"] for name in shown]
            cells = [f"{value:.0f}" if metric == "distinct" else f"{value:.4f}" for value in values]
            both = base in models and ours in models and models[base][f"{metric}@{k}"]
            change = f"{models[ours][f'{metric}@{k}'] / models[base][f'{metric}@{k}'] - 1:+.1%}" if both else ""
            test = tested.get(f"{metric}@{k}")
            worth = ("", "")
            if test:
                bounds = f"{100 * test['low']:+.0f} to {100 * test['high']:+.0f}"
                worth = (bounds, test["verdict"].replace("no difference shown", "-"))
            table.add_row(f"{metric}@{k}", *cells, change, *worth)
    console.print(table)


def show_costs(costs: list[Any]) -> None:
    """Print what each stage of a day spent its seconds on, and its largest jobs."""
    table = RichTable(title="Where the time went, in seconds")
    table.add_column("stage", no_wrap=True)
    for name in ("wall", "driver", "tasks", "Python", "starting", "JVM", "GC", "waiting", "busy", "jobs"):
        table.add_column(name, justify="right")
    table.caption = (
        "driver: while no job of Spark ran. Tasks are summed over all cores: Python (of it starting workers), the JVM "
        "and its collector; waiting comes beside them. Busy: the share of the cores that tasks held while jobs ran"
    )
    for each in costs:
        spent = each.seconds, each.driver, each.tasks, each.python, each.python_start, each.jvm, each.gc, each.waiting
        table.add_row(each.stage, *(f"{value:.0f}" for value in spent), f"{each.busy:.0%}", str(each.job_count))
    console.print(table)
    for each in costs:
        told = ", ".join(f"{about} {seconds:.1f}" for about, seconds in each.largest)
        if told:
            console.print(f"{each.stage}: {told}", highlight=False, markup=False, soft_wrap=True)


def show_days(days: list[Any], base: str) -> None:
    """Print days, the newest first: seconds, figures of the base and of what is published, and what went wrong."""
    table = RichTable(title="The last days")
    for name in ("day", "published", "seconds", "base hr@50", "hr@50", "distinct@100", "went wrong"):
        table.add_column(name, justify="right" if name not in ("day", "published", "went wrong") else "left")
    for day in days:
        ours = day.metrics.get(day.channel or "", {})
        cells = [_cell(day.metrics.get(base, {}).get("hr@50"), ".4f"), _cell(ours.get("hr@50"), ".4f")]
        wrong = [f"gate {gate}" for gate in day.gates] + [f"{stage}: {why}" for stage, why in day.failed.items()]
        channel = (day.channel or "") + (" (read now)" if day.is_published else "")
        took = f"{sum(day.seconds.values()):.0f}"
        cells = [str(day.ds), channel, took, *cells, _cell(ours.get("distinct@100"), ".0f"), "; ".join(wrong)]
        table.add_row(*map(escape, cells))
    console.print(table)


def _cell(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def models_of(lake: Any, ds: date) -> dict[str, dict[str, float]]:
    """The metrics of each model of a day, over all its test events."""
    from divspa.schemas import METRICS

    models: dict[str, dict[str, float]] = {}
    for row in lake.read_day(METRICS, ds, slice="all").orderBy("model", "metric").collect():
        models.setdefault(row["model"], {})[row["metric"]] = row["value"]
    return models


def comparisons_of(lake: Any, ds: date) -> list[dict[str, Any]]:
    """The rows of comparisons of a day."""
    from divspa.schemas import COMPARISONS

    rows = lake.read_day(COMPARISONS, ds).drop("ds").orderBy("model", "metric").collect()
    return [row.asDict() for row in rows]


def channels_of(lake: Any, ds: date) -> list[dict[str, Any]]:
    """The rows of channels of a day."""
    from divspa.schemas import CHANNELS

    return [row.asDict() for row in lake.read_day(CHANNELS, ds).drop("ds").orderBy("channel").collect()]


def published_of(
    lake: Any, ds: date, comparisons: list[dict[str, Any]], channels: list[dict[str, Any]]
) -> dict[str, Any] | None:
    """The channel that is published of a day, what its comparisons hold it against, and why; None of one held back.

    `version` is the one that readers follow, as `published` names it; None while they follow that of another day.
    """
    from divspa.lake.published import published

    chosen = next((row for row in channels if row["published"]), None)
    if chosen is None:
        return None
    against = next(row["against"] for row in comparisons if row["model"] == chosen["channel"])
    current = published(lake)
    version = current.version if current is not None and current.ds == ds else None
    return {"channel": chosen["channel"], "against": against, "why": chosen["reason"], "version": version}
