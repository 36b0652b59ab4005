"""What a person wants to know of a day first: is it better, by how much, for whom, at what cost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Figures = Mapping[tuple[str, str], float]
# Parts of the test events, as metrics has them, in words; a part of few events says little and is not named.
PARTS = {
    "head": "clicks on the most popular items",
    "torso": "clicks on items of middling popularity",
    "tail": "clicks on rare items",
    "cold": "clicks on items without training clicks",
    "few": "users who had few items",
    "some": "users who had some items",
    "many": "users who had many items",
}
FEWEST = 100


@dataclass(frozen=True)
class Answer:
    """A question, its answer in a word or a figure, and what stands behind it."""

    question: str
    answer: str
    told: str


def headline(
    base: str,
    figures: Mapping[str, Figures],
    comparisons: Sequence[Mapping[str, Any]],
    published: str | None,
    why: str,
    seconds: Mapping[str, float],
    metrics: tuple[str, str, str],
) -> list[Answer]:
    """The four answers; `metrics` are hr@k, ndcg@k and distinct@k, `seconds` those of the day's stages.

    The published channel, None of a day that is held back, is compared with the base, and DivSPA with the base where
    the tests did; `why` is the reason that `channels` has.
    """
    hr, _, distinct = metrics
    ours = published or base
    return [
        _better(base, comparisons, metrics[:2]),
        _how_much(figures, base, published, hr, why),
        _for_whom(figures[base], figures[ours], ours, hr, base),
        _cost(figures, base, ours, seconds, distinct),
    ]


def _better(base: str, comparisons: Sequence[Mapping[str, Any]], metrics: Sequence[str]) -> Answer:
    question = "Is DivSPA better than its base?"
    rows = [
        row for row in comparisons if (row["model"], row["against"]) == ("divspa", base) and row["metric"] in metrics
    ]
    if not rows:
        return Answer(question, "not trained", "The day has a base alone.")
    verdicts = {row["verdict"] for row in rows}
    answer = "partly" if {"better", "worse"} <= verdicts else "no difference shown"
    if len(verdicts) == 1 and verdicts != {"no difference shown"}:
        answer = {"better": "yes", "worse": "no, worse"}[verdicts.pop()]
    elif verdicts == {"better", "no difference shown"}:
        answer = "in part: " + " and ".join(row["metric"] for row in rows if row["verdict"] == "better")
    elif verdicts == {"worse", "no difference shown"}:
        answer = "no, worse in " + " and ".join(row["metric"] for row in rows if row["verdict"] == "worse")
    told = "; ".join(
        f"{row['metric']} {row['against_value']:.4f} → {row['value']:.4f}, {row['relative']:+.1%} "
        f"({row['low']:+.1%} to {row['high']:+.1%}, p {row['p_holm']:.2g})"
        for row in rows
    )
    return Answer(question, answer, f"{told}. One training of each; 95 % over users.")


def _how_much(figures: Mapping[str, Figures], base: str, published: str | None, hr: str, why: str) -> Answer:
    question = "What is published, and what does it gain?"
    if published is None:
        return Answer(question, "held back", why)
    ours, theirs, popular = (figures[name][("all", hr)] for name in (published, base, "popularity"))
    k = hr.partition("@")[2]
    told = f"{published}. Of 100 clicks to come, its first {k} places hold {100 * ours:.1f}"
    told += f", the base's {100 * theirs:.1f}, the most popular items {100 * popular:.1f}."
    return Answer(question, _change(ours, theirs), told)


def _for_whom(base: Figures, ours: Figures, name: str, hr: str, base_name: str) -> Answer:
    question = "For whom?"
    if name == base_name:
        return Answer(question, "—", "The base is published as it is.")
    told = {part: base[part, "events"] for part in PARTS if base.get((part, "events"), 0) >= FEWEST}
    changes = {part: ours[part, hr] - base[part, hr] for part in told}
    if not changes:
        return Answer(question, "—", "There are too few test events to tell.")
    most, least = max(changes, key=lambda part: changes[part]), min(changes, key=lambda part: changes[part])
    parts = [f"{PARTS[part]}: {base[part, hr]:.4f} → {ours[part, hr]:.4f}" for part in dict.fromkeys((most, least))]
    losing = [part for part, change in changes.items() if change < 0]
    answer = "all parts gain" if not losing else f"{len(changes) - len(losing)} of {len(changes)} parts gain"
    return Answer(question, answer, f"Most and least in {hr}: {'; '.join(parts)}. Parts are not tested one by one.")


def _cost(figures: Mapping[str, Figures], base: str, ours: str, seconds: Mapping[str, float], distinct: str) -> Answer:
    added = {stage: seconds[stage] for stage in ("train_linear", "tune", "augment", "train_divspa") if stage in seconds}
    spent = sum(seconds.values())
    told = ", ".join(f"{stage} {taken:.0f} s" for stage, taken in added.items() if taken >= 0.5)
    told = f"{told or 'nothing'}, of {spent:.0f} s until now. " if spent else ""
    before, after = (figures[name][("all", distinct)] for name in (base, ours))
    told += f"Different items in the lists ({distinct}): {before:,.0f} → {after:,.0f}."
    return Answer("At what cost?", f"{sum(added.values()):.0f} s more" if spent else "not recorded", told)


def _change(ours: float, theirs: float) -> str:
    return f"{ours / theirs - 1:+.1%} over its base" if theirs else "—"
