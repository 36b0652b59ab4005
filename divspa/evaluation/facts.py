"""What a report says of a day beside its ranks: the data, the trainings, the augmentation, a few users."""

from dataclasses import dataclass
from datetime import date
from typing import Any

from pyspark.sql import functions as F

from divspa.config import Config
from divspa.errors import MissingTableError
from divspa.evaluation.test_set import Ranking, TestSet
from divspa.lake.tables import Lake
from divspa.models.checkpoint import DIVSPA
from schemas import AUGMENTATION_SUMMARY, FEATURE_GATES, ITEM_FEATURES, TRAINING_RUNS, USER_FEATURES, VOCABULARY
from schemas.vocabulary import ITEM_FIELD

LISTED = 10
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
class Shown:
    """A user of the test set by names of items: the newest of the history, all that was clicked, each model's list."""

    user_id: str
    history: list[str]
    clicked: list[str]
    lists: dict[str, list[str]]


@dataclass(frozen=True)
class Facts:
    """What a report says beside the ranks; `data` has the form of the paper's Table 2."""

    data: dict[str, int]
    trainings: list[Training]
    ways: list[dict[str, Any]]
    users: list[Shown]


def gather_facts(lake: Lake, config: Config, ds: date, test: TestSet, rankings: list[Ranking]) -> Facts:
    """Read them from the day's tables: small ones whole, of the large ones the rows of a few users."""
    return Facts(
        _data(lake, config, ds), _trainings(lake, config, ds), _ways(lake, ds), _users(lake, ds, test, rankings)
    )


def _data(lake: Lake, config: Config, ds: date) -> dict[str, int]:
    whole = lake.read_day(FEATURE_GATES, ds).where("field = ''").select("figure", "value")
    figures = dict(whole.collect())
    counts = lake.read_day(VOCABULARY, ds).groupBy(F.col("field") == ITEM_FIELD).count()
    values = dict(counts.collect())
    data = {label: int(figures[name]) for name, label in COUNTED.items() if name in figures}
    data["items"] = values.get(True, 0)
    data["fields beside the item id"] = len(config.user_fields) + len(config.item_fields)
    data["features (values of all fields)"] = sum(values.values())
    return data


def _trainings(lake: Lake, config: Config, ds: date) -> list[Training]:
    runs = lake.read_day(TRAINING_RUNS, ds).where(F.col("model").isin(config.model.name, DIVSPA)).collect()
    names = "model", "losses", "scores", "best_epoch", "seconds"
    return [Training(*(run[name] for name in names)) for run in sorted(runs, key=lambda run: run["model"] == DIVSPA)]


def _ways(lake: Lake, ds: date) -> list[dict[str, Any]]:
    """The rows of augmentation_summary; none where only a base was trained."""
    try:
        rows = lake.read_day(AUGMENTATION_SUMMARY, ds).collect()
    except MissingTableError:
        return []
    return [row.asDict() for row in sorted(rows, key=lambda row: (row["way"] == "all", row["way"]))]


def _users(lake: Lake, ds: date, test: TestSet, rankings: list[Ranking]) -> list[Shown]:
    chosen = F.col("user_key").isin(*test.sample)
    states = lake.read_day(USER_FEATURES, ds, as_of="cutoff").where(chosen)
    rows = states.select("user_key", "user_id", "history", "history_length").collect()
    asked = dict(test.questions.where(chosen).select("user_key", "asked").collect())
    pasts = {row["user_key"]: row["history"][: row["history_length"]][-LISTED:] for row in rows}
    lists = {
        ranking.model: {user: found[:LISTED].tolist() for user, found in ranking.lists.items()} for ranking in rankings
    }
    needed = [*pasts.values(), *asked.values(), *(found for of_users in lists.values() for found in of_users.values())]
    name = _names(lake, ds, {int(item) for items in needed for item in items})
    return [
        Shown(
            row["user_id"],
            [name.get(item, "?") for item in pasts[row["user_key"]]],
            [name[item] for item in asked[row["user_key"]] if item in name],
            {model: [name[item] for item in found.get(row["user_key"], [])] for model, found in lists.items()},
        )
        for row in rows
    ]


def _names(lake: Lake, ds: date, items: set[int]) -> dict[int, str]:
    """The id of each item as the log has it."""
    wanted = lake.read_day(ITEM_FEATURES, ds).where(F.col("item_index").isin(*items))
    return dict(wanted.select("item_index", "item_id").collect())
