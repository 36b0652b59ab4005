"""What a report says of a day beside its ranks: the data, the trainings, the augmentation, a few users."""

from dataclasses import dataclass
from datetime import date
from typing import Any

from pyspark.sql import Row
from pyspark.sql import functions as F

from divspa.config import Config
from divspa.errors import MissingTableError
from divspa.evaluation.test_set import Ranking, TestSet
from divspa.lake.tables import Lake
from schemas import AUGMENTATION_SUMMARY, FEATURE_GATES, ITEM_FEATURES, USER_FEATURES, VOCABULARY

# How many places of a list are shown, and of how many users.
LISTED, USERS = 10, 3
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


def gather_facts(config: Config, test: TestSet, rankings: list[Ranking], runs: list[Row]) -> Facts:
    """Read them from the day's tables: small ones whole, of the large ones the rows of a few users.

    `runs` are the rows of training_runs, in the order to be shown.
    """
    names = "model", "losses", "scores", "best_epoch", "seconds"
    trainings = [Training(*(run[name] for name in names)) for run in runs]
    return Facts(_data(config, test), trainings, _ways(test.lake, test.ds), _users(test, rankings))


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


def _users(test: TestSet, rankings: list[Ranking]) -> list[Shown]:
    users = test.shown_S[:USERS].tolist()
    chosen = F.col("user_key").isin(*users)
    states = test.lake.read_day(USER_FEATURES, test.ds, as_of="cutoff").where(chosen)
    rows = states.select("user_key", "user_id", "history", "history_length").collect()
    asked = dict(test.questions.where(chosen).select("user_key", "asked").collect())
    pasts = {row["user_key"]: row["history"][: row["history_length"]][-LISTED:] for row in rows}
    lists = {
        ranking.model: {user: test.list_of(ranking, user, LISTED).tolist() for user in users} for ranking in rankings
    }
    needed = [*pasts.values(), *asked.values(), *(found for of_users in lists.values() for found in of_users.values())]
    name = _names(test.lake, test.ds, {int(item) for items in needed for item in items})
    return [
        Shown(
            row["user_id"],
            [name.get(item, "?") for item in pasts[row["user_key"]]],
            [name[item] for item in asked[row["user_key"]] if item in name],
            {model: [name[item] for item in found[row["user_key"]]] for model, found in lists.items()},
        )
        for row in rows
    ]


def _names(lake: Lake, ds: date, items: set[int]) -> dict[int, str]:
    """The id of each item as the log has it."""
    wanted = lake.read_day(ITEM_FEATURES, ds).where(F.col("item_index").isin(*items))
    return dict(wanted.select("item_index", "item_id").collect())
