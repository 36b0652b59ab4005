"""Whether a day's features may be published: figures of the day, their limits, and one error that names what failed."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import date

from divspa.errors import GateError
from divspa.features.figures import Figure
from divspa.features.settings import FeatureGates
from divspa.lake.tables import Lake
from divspa.schemas import FEATURE_GATES
from divspa.schemas.vocabulary import ITEM_FIELD

# Which setting limits which figure.
LIMITS = {
    "new_clicks": "min_new_clicks",
    "refused_share": "max_refused_share",
    "user_share": "max_user_share",
    "item_share": "max_item_share",
    "matched_users": "min_matched_users",
    "matched_items": "min_matched_items",
    "unknown_rate": "max_unknown_rate",
    "unknown_rise": "max_unknown_rise",
    "vocabulary_growth": "max_vocabulary_growth",
    "drift": "max_drift",
}


def pass_gates(
    lake: Lake, ds: date, figures: Iterable[Figure], gates: FeatureGates, because: Mapping[str, str] | None = None
) -> None:
    """Write feature_gates, and raise GateError naming each figure that is beyond its limit.

    `because` says more of some figures by name.
    """
    before = earlier_figures(lake, ds)
    known = [replace(f, previous=before.get((f.figure, f.field), f.previous)) for f in figures]
    judged = [_judged(f, gates) for f in [*known, *_rises(known, before, gates)]]
    lake.replace_day_with(FEATURE_GATES, judged, ds)
    failed = [row for row in judged if not row[-1]]
    more = {name: f" ({text})" for name, text in (because or {}).items() if text}
    beyond = [
        f"{name}{' of ' + field if field else ''} {value:.4g}{more.get(name, '')}" for name, field, value, *_ in failed
    ]
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
