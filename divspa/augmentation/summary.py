"""Whether an augmentation is healthy, by way, and the gates that it must pass before it is published."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from divspa.augmentation.settings import DivSPA
from divspa.augmentation.tally import Tally
from divspa.augmentation.ways.way import Way
from divspa.errors import GateError
from divspa.retrieval import SearchReport

EVERY = "all"
Summary = list[dict[str, Any]]


def summarise(
    tally: Tally,
    popularity_V: NDArray[np.int64],
    ways: Mapping[str, Way],
    searches: Mapping[str, SearchReport | None],
) -> Summary:
    """The rows of augmentation_summary: one a way, and one `all`; shares and means of nothing are null."""
    rows = []
    for row, name in enumerate([*ways, EVERY]):
        added_V, found, search = tally.added_RV[row], int(tally.found_R[row]), searches.get(name)
        completes = name in ways and ways[name].complete is not None
        added = int(added_V.sum())
        rows.append(
            {
                "way": name,
                "pairs": tally.pairs,
                "candidates_per_pair": found / tally.pairs,
                "new": _ratio(tally.found_R[row], tally.found_R[row] + tally.dropped_R[row]),
                "overlap": _ratio(tally.common_R[row], found),
                "completed": int(tally.completed_R[row]) if completes else None,
                "sampled": added,
                "sampled_per_pair": added / tally.pairs,
                "shared": _ratio(tally.shared_R[row], added),
                "distinct_items": int((added_V > 0).sum()),
                "distinct_items_clicked": int((tally.clicked_V > 0).sum()),
                "mean_score": _ratio(tally.scores_R[row], added),
                "mean_popularity": _ratio(added_V @ popularity_V, added),
                "mean_popularity_clicked": float(tally.clicked_V @ popularity_V / tally.pairs),
                "search_plan": search and search.plan,
                "search_recall": search and search.recall,
                "search_nprobe": search and search.nprobe,
            }
        )
    return rows


def _ratio(part: float, whole: float) -> float | None:
    return float(part / whole) if whole else None


def check_gates(summary: Summary, settings: DivSPA) -> list[str]:
    """Warnings to show. Raises GateError, naming every gate that fails and by how much."""
    gates, failures, warnings = settings.gates, [], []
    for row in summary:
        way = row["way"]
        most = settings.m * (len(settings.ways) if way == EVERY else 1)
        floor = (gates.filled if way == EVERY else gates.way_filled) * most
        if row["sampled_per_pair"] < floor:
            failures.append(f"{way} added {row['sampled_per_pair']:.4g} a pair where {floor:.4g} is the least")
        spread = row["distinct_items"] / row["distinct_items_clicked"]
        if 0 < spread < gates.warn_spread:
            warnings.append(
                f"{way} added {row['distinct_items']} distinct items, {spread:.2%} as many as were clicked "
                f"(expected {gates.warn_spread:.2%} or more): the model may be teaching popularity"
            )
    if failures:
        raise GateError(
            "The augmentation fails a gate and was not published",
            expected="positives added by every way",
            found="; ".join(failures),
            remedy="look at the embeddings, take the empty way out of `divspa.ways`, or lower `divspa.gates`",
        )
    return warnings
