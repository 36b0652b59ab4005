"""The plots of a report, as SVG that takes the colour of the page's text and tells models apart by their lines."""

import io
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from html import escape

import matplotlib as mpl
import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from divspa.evaluation.facts import Training

LINES = ("-", "--", ":", "-.", (0, (1, 5)), (0, (5, 5)), (0, (3, 1, 1, 1, 1, 1)), (0, (1, 1)))
MARKS = "osD^vPX*"
# A curve over all items is drawn by so many of its points, evenly apart on its logarithmic axis.
POINTS = 200


@dataclass(frozen=True)
class Plot:
    """A plot and what it shows."""

    title: str
    svg: Markup


def exposure_curves(exposures: Mapping[str, np.ndarray], k: int) -> Plot:
    """How often each of N catalogue items [N] stands in a top k, the most shown first, for every model."""

    def draw(axes: Axes) -> None:
        for (model, exposure_N), line in zip(exposures.items(), LINES, strict=False):
            places = np.unique(np.geomspace(1, len(exposure_N), POINTS).astype(int))
            axes.plot(places, np.sort(exposure_N)[::-1][places - 1] + 0.5, linestyle=line, color="black", label=model)
        axes.set(xscale="log", yscale="log", xlabel="item", ylabel=f"times in a top {k}")

    return _plot("Items shown, from the most to the least shown", draw)


def by_popularity(exposures: Mapping[str, np.ndarray], popularity_N: np.ndarray, k: int) -> Plot:
    """Ten bins of items that hold a tenth of the clicks each, from the head to the tail."""
    order_N = np.argsort(-popularity_N, kind="stable")
    cumulative_N = np.cumsum(popularity_N[order_N]) / max(popularity_N.sum(), 1)
    bin_N = np.minimum((cumulative_N * 10 - 1e-9).astype(int), 9)
    shares = {}
    for model, exposure_N in exposures.items():
        shown = np.bincount(bin_N, weights=exposure_N[order_N], minlength=10)
        shares[model] = dict(enumerate(shown / max(shown.sum(), 1), start=1))
    labels = "tenth of the clicks, most popular items first", f"share of places in the top {k}"
    return lines("Share of the lists by popularity of the item", shares, *labels)


def learning(trainings: list[Training]) -> Plot:
    """The score after each pass. Nothing is drawn where nothing is held out."""
    scores = {training.model: dict(enumerate(training.scores, start=1)) for training in trainings}
    return lines("Score on the split valid after each pass", scores, "pass", "training.criterion")


def lines(
    title: str, values: Mapping[str, Mapping[int, float] | Mapping[date, float]], x: str, y: str, *, from_zero=False
) -> Plot:
    """A line and a mark for each model, whose values are told where the pointer rests."""

    def draw(axes: Axes) -> None:
        for (model, points), line, mark in zip(values.items(), LINES, MARKS, strict=False):
            xs, ys = np.array(list(points)), list(points.values())
            axes.plot(xs, ys, linestyle=line, color="black", marker=mark, label=model)
            for at, value in points.items():
                axes.plot(np.array([at]), [value], "o", ms=12, alpha=0, gid=f"told:{model}, {at}: {value:.4g}")
        axes.set(xlabel=x, ylabel=y)
        if from_zero:
            axes.set(ylim=(0, None))
        if any(isinstance(at, date) for points in values.values() for at in points):
            axes.figure.autofmt_xdate()  # pyright: ignore[reportAttributeAccessIssue]
        else:
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))

    return _plot(title, draw)


def _plot(title: str, draw: Callable[[Axes], None]) -> Plot:
    figure = Figure(figsize=(5, 3.6), layout="constrained")
    axes = figure.subplots()
    draw(axes)
    axes.legend(frameon=False, fontsize=9)
    made = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": title}):
        figure.savefig(made, format="svg", transparent=True, metadata={"Date": None})
    svg = made.getvalue()
    svg = svg[svg.index("<svg") :].replace("#000000", "currentColor")
    # Names are local to a file, and several plots are in one.
    salt = re.sub(r"\W+", "-", title)
    svg = re.sub(r'(id="|href="#|url\(#)(?!told:)', rf"\g<1>{salt}-", svg)
    svg = re.sub(r'<g id="told:([^"]*)">', r"<g><title>\1</title>", svg)
    svg = re.sub(r'<svg [^>]*viewBox="([^"]*)"[^>]*>', _opening(title), svg, count=1)
    return Plot(title, Markup(svg))  # noqa: S704


def _opening(title: str) -> str:
    return rf'<svg viewBox="\1" role="img" aria-label="{escape(title)}" xmlns:xlink="http://www.w3.org/1999/xlink">'
