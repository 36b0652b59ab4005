"""The HTML report of a day: one self-contained file that can be read in black and white."""

import base64
import io
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from divspa.evaluation.facts import LISTED, Facts, Training
from divspa.storage import write_file

TEMPLATE = Path(__file__).with_name("report.html")
LINES = ("-", "--", ":", "-.", (0, (1, 5)), (0, (5, 5)), (0, (3, 1, 1, 1, 1, 1)), (0, (1, 1)))
DIVERSITY = ("distinct", "coverage", "gini", "entropy", "novelty", "distance")
PARTS = ("head", "torso", "tail", "cold", "few", "some", "many")


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
    names = [name for k in ks for name in (f"hr@{k}", f"ndcg@{k}")]
    lengths, all_names = tuple(results[0].exposures), results[0].metrics
    names += [name for k in lengths for name in all_names if name.endswith(f"@{k}") and name.startswith(DIVERSITY)]
    plots = [
        _plot("Items shown, from the most to the least shown", lambda axes: _exposure_curves(axes, results)),
        _plot("Share of the lists by popularity of the item", lambda axes: _tail(axes, results, popularity_N)),
        _plot("Share of the catalogue in all lists together", lambda axes: _coverage(axes, results)),
    ]
    learning = _plot("Score on the split valid after each pass", lambda axes: _learning(axes, facts.trainings))
    page = jinja2.Environment(autoescape=True).from_string(TEMPLATE.read_text())
    html = page.render(
        ds=ds,
        results=results,
        names=names,
        plots=plots,
        learning=learning,
        facts=facts,
        listed=LISTED,
        items=len(popularity_N),
        ks=ks,
        parts=PARTS,
        comparisons=comparisons,
        channels=channels,
    )
    write_file(path, html.encode())


def _exposure_curves(axes: Axes, results: list[ModelResult]) -> None:
    k = min(results[0].exposures)
    for result, line in zip(results, LINES, strict=False):
        axes.plot(np.sort(result.exposures[k])[::-1] + 0.5, linestyle=line, color="black", label=result.model)
    axes.set(xscale="log", yscale="log", xlabel="item", ylabel=f"times in a top {k}")
    axes.legend()


def _tail(axes: Axes, results: list[ModelResult], popularity_N: np.ndarray) -> None:
    """Ten bins of items that hold a tenth of the clicks each, from the head to the tail."""
    k = min(results[0].exposures)
    order_N = np.argsort(-popularity_N, kind="stable")
    cumulative_N = np.cumsum(popularity_N[order_N]) / max(popularity_N.sum(), 1)
    bin_N = np.minimum((cumulative_N * 10 - 1e-9).astype(int), 9)
    for result, line in zip(results, LINES, strict=False):
        shown = np.bincount(bin_N, weights=result.exposures[k][order_N], minlength=10)
        axes.plot(
            np.arange(1, 11), shown / max(shown.sum(), 1), linestyle=line, marker="o", color="black", label=result.model
        )
    axes.set(xlabel="tenth of the clicks, most popular items first", ylabel=f"share of places in the top {k}")
    axes.legend()


def _coverage(axes: Axes, results: list[ModelResult]) -> None:
    ks = list(results[0].exposures)
    for result, line in zip(results, LINES, strict=False):
        shares = [result.metrics[f"coverage@{k}"] for k in ks]
        axes.plot(ks, shares, linestyle=line, marker="o", color="black", label=result.model)
    axes.set(xlabel="k", ylabel="share of the catalogue", ylim=(0, None))
    axes.legend()


def _learning(axes: Axes, trainings: list[Training]) -> None:
    """The kept pass is the filled mark. Nothing is drawn where nothing is held out."""
    for training, line in zip(trainings, LINES[1:], strict=False):
        passes = np.arange(1, len(training.scores) + 1)
        axes.plot(
            passes, training.scores, linestyle=line, marker="o", fillstyle="none", color="black", label=training.model
        )
        if training.scores:
            axes.plot(passes[training.best_epoch], training.scores[training.best_epoch], "o", color="black")
    axes.set(xlabel="pass", ylabel="training.criterion")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend()


def _plot(title: str, draw) -> dict[str, str]:
    figure = Figure(figsize=(6, 4), layout="constrained")
    draw(figure.subplots())
    image = io.BytesIO()
    figure.savefig(image, format="png", dpi=120)
    return {"title": title, "image": base64.b64encode(image.getvalue()).decode()}
