"""What a report says of a day beside its ranks: data, trainings, augmentation, the days before, a few users."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from pyspark.sql import Row
from pyspark.sql import functions as F

from divspa.config import Config
from divspa.errors import MissingTableError
from divspa.evaluation.shown import Shown, shown_users
from divspa.evaluation.test_set import Ranking, TestSet
from divspa.lake.tables import Lake
from divspa.schemas import AUGMENTATION_SUMMARY, CHANNELS, FEATURE_GATES, JOB_RUNS, METRICS, VOCABULARY

# So many of the newest days are told.
DAYS = 14
COUNTED = {"users": "users", "train_clicks": "clicks before the cutoff", "test_clicks": "clicks after it"}


@dataclass(frozen=True)
class Training:
    """The learning curve of a model, a value an epoch, and the epoch from 0 whose weights were kept."""

    model: str
    losses: list[float]
    scores: list[float]
    best_epoch: int
    seconds: float


@dataclass(frozen=True)
class Before:
    """The days before this one: figures by metric, model and day, the published channel, and drift by field and day."""

    metrics: dict[str, dict[str, dict[date, float]]]
    channels: dict[date, str]
    drift: dict[str, dict[date, float]]


@dataclass(frozen=True)
class Facts:
    """What a report says beside the ranks; `data` has the form of the paper's Table 2, `seconds` are of the stages."""

    data: dict[str, int]
    trainings: list[Training]
    ways: list[dict[str, Any]]
    seconds: Mapping[str, float]
    before: Before
    users: list[Shown]


def gather_facts(config: Config, test: TestSet, rankings: list[Ranking], runs: list[Row]) -> Facts:
    """Read them from the day's tables: small ones whole, of the large ones the rows of a few users.

    `runs` are the rows of training_runs, in the order to be shown.
    """
    names = "model", "losses", "scores", "best_epoch", "seconds"
    trainings = [Training(*(run[name] for name in names)) for run in runs]
    users = shown_users(config, test, rankings) if config.report.users else []
    before = _before(test.lake, test.ds, (f"hr@{test.ks[0]}", f"distinct@{test.diversity_ks[0]}"))
    return Facts(_data(config, test), trainings, _ways(test.lake, test.ds), _seconds(test), before, users)


def _data(config: Config, test: TestSet) -> dict[str, int]:
    whole = test.lake.read_day(FEATURE_GATES, test.ds).where("field = ''").select("figure", "value")
    figures = dict(whole.collect())
    data = {label: int(figures[name]) for name, label in COUNTED.items() if name in figures}
    data["items"] = len(test.index_N)
    data["fields beside the item id"] = len(config.user_fields) + len(config.item_fields)
    data["features (values of all fields)"] = test.lake.read_day(VOCABULARY, test.ds).count()
    return data


def _ways(lake: Lake, ds: date) -> list[dict[str, Any]]:
    """The rows of augmentation_summary; none where only a base was trained."""
    try:
        rows = lake.read_day(AUGMENTATION_SUMMARY, ds).collect()
    except MissingTableError:
        return []
    return [row.asDict() for row in sorted(rows, key=lambda row: (row["way"] == "all", row["way"]))]


def _seconds(test: TestSet) -> dict[str, float]:
    """Of the newest run of each stage of the day, in the order in which they ran."""
    mine = (F.col("ds") == F.lit(test.ds)) & (F.col("status") == "succeeded")
    rows = sorted(test.lake.rows(JOB_RUNS, mine), key=lambda row: row["started_at"])
    return {row["stage"]: row["seconds"] for row in rows}


def _before(lake: Lake, ds: date, metrics: tuple[str, ...]) -> Before:
    earlier = F.col("ds") < F.lit(ds)
    figures: dict[str, dict[str, dict[date, float]]] = {metric: {} for metric in metrics}
    rows = lake.rows(METRICS, earlier & (F.col("slice") == "all") & F.col("metric").isin(*metrics))
    days = sorted({row["ds"] for row in rows})[-(DAYS - 1) :]
    for row in sorted(rows, key=lambda row: row["ds"]):
        if row["ds"] in days:
            figures[row["metric"]].setdefault(row["model"], {})[row["ds"]] = row["value"]
    channels = {row["ds"]: row["channel"] for row in lake.rows(CHANNELS, earlier & F.col("published"))}
    drift: dict[str, dict[date, float]] = {}
    told = F.col("ds").isin(*days, ds) & (F.col("figure") == "drift")
    for row in sorted(lake.rows(FEATURE_GATES, told), key=lambda row: row["ds"]):
        drift.setdefault(row["field"], {})[row["ds"]] = row["value"]
    return Before(figures, channels, drift)
