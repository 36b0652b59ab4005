"""Whether a day's features may be published: figures of the day, their limits, and one error that names what failed."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date

import numpy as np
from numpy.typing import ArrayLike
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from divspa.config import FeatureField, FeatureGates
from divspa.errors import GateError
from divspa.lake.tables import Lake
from schemas import FEATURE_GATES
from schemas.vocabulary import ITEM_FIELD, UNKNOWN

# Which setting limits which figure; all but the first are the most that is allowed.
LIMITS = {
    "new_clicks": "min_new_clicks",
    "refused_share": "max_refused_share",
    "unknown_rate": "max_unknown_rate",
    "unknown_rise": "max_unknown_rise",
    "vocabulary_growth": "max_vocabulary_growth",
    "drift": "max_drift",
}
# Drift is measured over the most frequent values of the day before, and all others together.
FREQUENT = 20


@dataclass(frozen=True)
class Figure:
    """One figure of a day, of a field or ('') of the whole, and the same of the newest earlier day."""

    figure: str
    value: float
    field: str = ""
    previous: float | None = None


def pass_gates(lake: Lake, ds: date, figures: Iterable[Figure], gates: FeatureGates) -> None:
    """Write feature_gates, and raise GateError naming each figure that is beyond its limit."""
    before = earlier_figures(lake, ds)
    known = [replace(f, previous=before.get((f.figure, f.field), f.previous)) for f in figures]
    judged = [_judged(f, gates) for f in [*known, *_rises(known, before, gates)]]
    lake.replace_day_with(FEATURE_GATES, judged, ds)
    failed = [row for row in judged if not row[-1]]
    beyond = [f"{name}{' of ' + field if field else ''} {value:.4g}" for name, field, value, *_ in failed]
    if failed:
        raise GateError(
            f"The features of {ds} did not pass their gates, so nothing of the day is published",
            expected="; ".join(f"{gate} {limit:g}" for *_, gate, limit, _ in failed),
            found="; ".join(beyond),
            remedy="mend the input; or, if the day is right, set `features.gates` in the configuration; "
            f"{lake.path(FEATURE_GATES)} holds all figures",
        )


def earlier_figures(lake: Lake, ds: date) -> dict[tuple[str, str], float]:
    """The figures of the newest earlier day, by name and field."""
    day = lake.newest_day_before(FEATURE_GATES, ds)
    if day is None:
        return {}
    rows = lake.read_day(FEATURE_GATES, day).select("figure", "field", "value").collect()
    return {(row["figure"], row["field"]): row["value"] for row in rows}


def unknown_rates(encoded: DataFrame, column: str, fields: tuple[FeatureField, ...]) -> list[Figure]:
    """The share of rows in which a field is unknown: null, or a value outside the vocabulary."""
    if not fields:
        return []
    starts = np.cumsum([0, *(field.max_values for field in fields)]).tolist()
    shares = [F.avg((F.get(column, F.lit(start)) == UNKNOWN).cast("double")) for start in starts[:-1]]
    row = encoded.agg(F.count("*"), *shares).head() or ()
    return [Figure("unknown_rate", share or 0.0, f.name) for f, share in zip(fields, row[1:], strict=True)]


def vocabulary_figures(vocabulary: DataFrame, compare_from: int) -> list[Figure]:
    """Size, growth, drift and collisions of every field; `vocabulary` holds the counts of the day before too."""
    by_rank = Window.partitionBy("field").orderBy(F.desc_nulls_last("previous_count"), "index")
    ranked = vocabulary.withColumn("group", F.least(F.row_number().over(by_rank), F.lit(FREQUENT + 1)))
    groups = ranked.groupBy("field", "group").agg(
        F.sum("count").alias("count"),
        F.coalesce(F.sum("previous_count"), F.lit(0)).alias("previous"),
        F.count("*").alias("values"),
        F.count("previous_count").alias("old_values"),
        F.sum("distinct").alias("distinct"),
        F.sum(F.when(F.col("distinct") > 1, F.col("distinct"))).alias("collided"),
    )
    figures: list[Figure] = []
    for name, own in groups.toPandas().groupby("field"):
        field, size, old = str(name), int(own["values"].sum()), int(own["old_values"].sum())
        figures.append(Figure("vocabulary_size", size, field))
        if old >= compare_from:
            figures.append(Figure("vocabulary_growth", size / old - 1, field))
        if min(own["count"].sum(), own["previous"].sum()) >= compare_from:
            figures.append(Figure("drift", stability_index(own["count"], own["previous"]), field))
        if own["distinct"].sum():
            figures.append(Figure("collision_rate", own["collided"].sum() / own["distinct"].sum(), field))
    return figures


def stability_index(counts: ArrayLike, earlier: ArrayLike) -> float:
    """The population stability index of two distributions over the same groups; half a count stands for none."""
    now, before = (np.maximum(np.asarray(values, float), 0.5) for values in (counts, earlier))
    now, before = now / now.sum(), before / before.sum()
    return float(((now - before) * np.log(now / before)).sum())


def _rises(figures: list[Figure], before: Mapping[tuple[str, str], float], gates: FeatureGates) -> list[Figure]:
    """How much more of a field is unknown than the day before, where that day had enough rows to compare."""
    rows = before.get(("users", ""), 0), before.get(("vocabulary_size", ITEM_FIELD), 0)
    enough = min(rows) >= gates.compare_from
    rates = [f for f in figures if f.figure == "unknown_rate" and f.previous is not None]
    return [Figure("unknown_rise", f.value - (f.previous or 0.0), f.field) for f in rates] if enough else []


def _judged(figure: Figure, gates: FeatureGates) -> tuple:
    gate = LIMITS.get(figure.figure)
    limit = getattr(gates, gate) if gate else None
    least = gate is not None and gate.startswith("min_")
    passed = limit is None or (figure.value >= limit if least else figure.value <= limit)
    limit = None if limit is None else float(limit)
    previous = None if figure.previous is None else float(figure.previous)
    return figure.figure, figure.field, float(figure.value), previous, gate, limit, bool(passed)
