"""A survey as lines for a terminal and as one self-contained HTML page."""

import io
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from divspa.inspection.survey import GROUPS, Activity, Survey

TEMPLATE = Path(__file__).with_name("page.html")
WIDTH = 40


def facts_of(survey: Survey) -> list[tuple[str, str]]:
    """The figures of a survey by name."""
    days = survey.days
    facts = [("clicks", f"{survey.clicks:,}")]
    if days:
        empty = sum(count == 0 for _, count in days)
        facts.append(("days", f"{days[0][0]} to {days[-1][0]}, {len(days):,} days, {empty:,} without a click"))
    for name, activity in (("users", survey.users), ("items", survey.items)):
        share = activity.most / max(survey.clicks, 1)
        facts.append(
            (name, f"{activity.count:,}; median {activity.median:.0f} clicks, the most {activity.most:,} ({share:.1%})")
        )
    facts.append(("repeats", f"about {survey.repeated:.0%} of the clicks are on an item that the user had clicked"))
    facts.append(("ties", f"about {survey.tied:.0%} of the clicks share user and instant with another"))
    if survey.cutoff is not None:
        facts.append(("training would end", f"{survey.cutoff:%Y-%m-%d %H:%M} UTC"))
    if survey.cold is not None:
        facts.append(("cold items", f"{survey.cold:.1%} of the test clicks are on items never clicked before"))
    for side, share in survey.matched.items():
        facts.append((f"in the table of {side}", f"{share:.1%} of the clicks"))
    return facts


def bars(activity: Activity) -> list[tuple[str, int, str]]:
    """The groups of an activity: clicks each, how many there are, and a bar."""
    most = max(activity.members, default=0) or 1
    return [
        (_group(place), members, "█" * round(WIDTH * members / most))
        for place, members in enumerate(activity.members)
        if members
    ]


def survey_page(survey: Survey, title: str, about: str) -> str:
    """One HTML file with tables and plots, which needs no network."""
    plots = [_plot("Clicks a day", lambda axes: _days(axes, survey))] if survey.days else []
    for name, activity in (("Users", survey.users), ("Items", survey.items)):
        plots.append(_plot(f"{name} by their clicks", lambda axes, activity=activity: _groups(axes, activity)))
    page = jinja2.Environment(autoescape=True).from_string(TEMPLATE.read_text())
    total = max(sum(survey.outcomes.values()), 1)
    return page.render(title=title, about=about, survey=survey, facts=facts_of(survey), plots=plots, total=total)


def _group(place: int) -> str:
    low = GROUPS[place]
    if place + 1 == len(GROUPS):
        return f"{low:,} or more"
    high = GROUPS[place + 1] - 1
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _days(axes: Axes, survey: Survey) -> None:
    days, counts = zip(*survey.days, strict=True)
    axes.fill_between(days, counts, step="mid", color="0.7")
    axes.step(days, counts, where="mid", color="black", linewidth=0.8)
    if survey.cutoff is not None:
        cutoff: Any = survey.cutoff.date()
        axes.axvline(cutoff, color="black", linestyle="--", label="training would end")
        axes.legend()
    axes.set(ylim=(0, None), ylabel="clicks")
    axes.tick_params(axis="x", rotation=30)


def _groups(axes: Axes, activity: Activity) -> None:
    places = range(len(GROUPS))
    for counts, shift, shade, name in (
        (activity.members, -0.2, "0.2", "share of them"),
        (activity.clicks, 0.2, "0.7", "share of the clicks"),
    ):
        total = max(sum(counts), 1)
        axes.bar([place + shift for place in places], [count / total for count in counts], 0.4, color=shade, label=name)
    axes.set_xticks(list(places), [f"{low}+" for low in GROUPS], rotation=30)
    axes.legend()


def _plot(title: str, draw: Any) -> dict[str, Any]:
    figure = Figure(figsize=(8, 3), layout="constrained")
    draw(figure.subplots())
    image = io.StringIO()
    figure.savefig(image, format="svg")
    return {"title": title, "svg": Markup(image.getvalue().partition("<!DOCTYPE")[2].partition(">")[2])}  # noqa: S704
