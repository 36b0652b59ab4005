"""The HTML report of a day: one self-contained file, on a screen or a phone, in colour or black and white."""

from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from divspa.evaluation.facts import Facts
from divspa.evaluation.headline import PARTS, headline
from divspa.evaluation.plots import Plot, by_popularity, exposure_curves, learning, lines
from divspa.evaluation.shown import LISTED
from divspa.storage import write_file

TEMPLATE = Path(__file__).with_name("report.html")
DIVERSITY = ("distinct", "coverage", "gini", "entropy", "novelty", "distance")


Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class ModelResult:
    """One model's metrics by name, also by (slice, name), and for each k how often each catalogue item was shown."""

    model: str
    slices: dict[tuple[str, str], float]
    exposures: dict[int, np.ndarray]

    @property
    def metrics(self) -> dict[str, float]:
        return {metric: value for (part, metric), value in self.slices.items() if part == "all"}


def write_report(
    path: str,
    ds: date,
    results: list[ModelResult],
    comparisons: Rows,
    channels: Rows,
    facts: Facts,
    popularity_N: np.ndarray,
    ks: tuple[int, ...],
) -> None:
    """Render metrics, comparisons, facts and plots into one HTML file; `comparisons` and `channels` are rows."""
    lengths, all_names = tuple(results[0].exposures), results[0].metrics
    accurate = [f"{kind}@{k}" for k in ks for kind in ("hr", "ndcg")]
    diverse = [name for k in lengths for name in all_names if name.endswith(f"@{k}") and name.startswith(DIVERSITY)]
    base, metrics = facts.trainings[0].model, (f"hr@{ks[0]}", f"ndcg@{ks[0]}", f"distinct@{lengths[0]}")
    chosen = next(row for row in channels if row["reason"])
    published = chosen["channel"] if chosen["published"] else None
    figures = {result.model: result.slices for result in results}
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    html = environment.from_string(TEMPLATE.read_text()).render(
        ds=ds,
        answers=headline(base, figures, comparisons, published, chosen["reason"], facts.seconds, metrics),
        results=results,
        accurate=accurate,
        diverse=diverse,
        # Models beside each other in the lists: those that a person compares.
        beside=[name for name in dict.fromkeys((base, "divspa", published)) if name in figures],
        base=base,
        published=published,
        exposure=_exposure(results, popularity_N),
        learning=learning(facts.trainings),
        days=_days(facts, results, ds, base, published),
        facts=facts,
        listed=LISTED,
        items=len(popularity_N),
        ks=ks,
        parts=PARTS,
        comparisons=comparisons,
        channels=channels,
    )
    write_file(path, html.encode())


def _exposure(results: list[ModelResult], popularity_N: np.ndarray) -> list[Plot]:
    ks = list(results[0].exposures)
    shown = {result.model: result.exposures[ks[0]] for result in results}
    coverage = {result.model: {k: result.metrics[f"coverage@{k}"] for k in ks} for result in results}
    labels = "k", "share of the catalogue"
    return [
        exposure_curves(shown, ks[0]),
        by_popularity(shown, popularity_N, ks[0]),
        lines("Share of the catalogue in all lists together", coverage, *labels, from_zero=True),
    ]


def _days(facts: Facts, results: list[ModelResult], ds: date, base: str, published: str | None) -> list[Plot]:
    """Quality and drift over the last days; nothing on the first."""
    plots = []
    today = {result.model: result.metrics for result in results}
    channels = sorted(facts.before.channels.items())
    for metric, before in facts.before.metrics.items():
        models = [name for name in (base, "divspa") if name in today]
        values = {name: before.get(name, {}) | {ds: today[name][metric]} for name in models}
        told = {day: before[channel][day] for day, channel in channels if day in before.get(channel, {})}
        values["published"] = told | ({ds: today[published][metric]} if published else {})
        if any(len(days) > 1 for days in values.values()):
            plots.append(lines(f"{metric} of the last days", values, "day", metric))
    if any(len(days) > 1 for days in facts.before.drift.values()):
        most = sorted(facts.before.drift.items(), key=lambda field: -max(field[1].values()))[:5]
        plots.append(lines("Drift of the fields that drift most", dict(most), "day", "population stability index"))
    return plots
