"""A few users by the names of their items: history, lists of the models side by side, and what each way added."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

from pyspark.sql import DataFrame, Row, SparkSession
from pyspark.sql import functions as F

from divspa.config import Config
from divspa.errors import MissingTableError
from divspa.evaluation.test_set import Ranking, TestSet
from divspa.schemas import AUGMENTED_POSITIVES, ITEM_FEATURES, USER_FEATURES
from divspa.sources.damage import Damage, read_whole
from divspa.sources.table import PROBLEM, Wanted, read_table

# How many places of a list are shown, and how many additions of a way.
LISTED, ADDED = 10, 5
WEB = ("https://", "http://")


@dataclass(frozen=True)
class Item:
    """An item by its id in the log, and as the items table calls and pictures it, where that is known."""

    id: str
    name: str
    picture: str | None = None


@dataclass(frozen=True)
class Added:
    """A positive that a way added to a click, with s(u, v)."""

    item: Item
    to: Item
    score: float


@dataclass(frozen=True)
class Shown:
    """A user of the test set: the newest of the history, all that was clicked, each model's list, additions by way."""

    user_id: str
    history: list[Item]
    clicked: list[Item]
    lists: dict[str, list[Item]]
    added: dict[str, list[Added]]


def shown_users(config: Config, test: TestSet, rankings: list[Ranking]) -> list[Shown]:
    """The first `report.users` of the users whose lists are kept."""
    users = test.shown_S[: config.report.users].tolist()
    chosen = F.col("user_key").isin(*users)
    states = test.lake.read_day(USER_FEATURES, test.ds, as_of="cutoff").where(chosen)
    rows = states.select("user_key", "user_id", "history", "history_length").collect()
    asked = dict(test.questions.where(chosen).select("user_key", "asked").collect())
    pasts = {row["user_key"]: row["history"][: row["history_length"]][-LISTED:] for row in rows}
    lists = {
        ranking.model: {user: test.list_of(ranking, user, LISTED).tolist() for user in users} for ranking in rankings
    }
    added = _added(test, [row["user_id"] for row in rows])
    needed = {item for of_user in (*pasts.values(), *asked.values()) for item in of_user}
    needed |= {item for of_users in lists.values() for found in of_users.values() for item in found}
    needed |= {item for row in added for item in (row["item_index"], row["added"])}
    items = _items(config, test, {int(item) for item in needed})
    return [
        Shown(
            row["user_id"],
            [items.get(item, Item("?", "?")) for item in reversed(pasts[row["user_key"]])],
            [items[item] for item in asked[row["user_key"]] if item in items],
            {model: [items[item] for item in found[row["user_key"]]] for model, found in lists.items()},
            _by_way([each for each in added if each["user_id"] == row["user_id"]], items),
        )
        for row in rows
    ]


def _added(test: TestSet, users: list[str]) -> list[Row]:
    """One row a positive that the first draw added to a click of these users; none where only a base was trained."""
    try:
        day = test.lake.read_day(AUGMENTED_POSITIVES, test.ds, draw=0)
    except MissingTableError:
        return []
    sampled = F.arrays_zip("sampled_item_indices", "sampled_scores", "sampled_sources")
    rows = day.where(F.col("user_id").isin(*users)).select("user_id", "item_index", F.explode(sampled).alias("it"))
    named = zip(("added", "score", "ways"), ("sampled_item_indices", "sampled_scores", "sampled_sources"), strict=True)
    columns = [F.col("it").getField(column).alias(name) for name, column in named]
    return rows.select("user_id", "item_index", *columns).where("added > 0").collect()


def _by_way(rows: list[Row], items: dict[int, Item]) -> dict[str, list[Added]]:
    """The best additions of each way, an item once, at its best; one that several ways found is of each."""
    found: dict[str, list[Added]] = {}
    for row in sorted(rows, key=lambda row: (-row["score"], row["added"])):
        for way in row["ways"].split("+"):
            of_way = found.setdefault(way, [])
            item = items[row["added"]]
            if len(of_way) < ADDED and item not in (each.item for each in of_way):
                of_way.append(Added(item, items[row["item_index"]], row["score"]))
    return dict(sorted(found.items()))


def _items(config: Config, test: TestSet, indices: set[int]) -> dict[int, Item]:
    wanted = test.lake.read_day(ITEM_FEATURES, test.ds).where(F.col("item_index").isin(*indices))
    ids = dict(wanted.select("item_index", "item_id").collect())
    told = names_of(test.lake.spark, config, test.ds, ids.values())
    return {index: told.get(item, Item(item, item)) for index, item in ids.items()}


def names_of(spark: SparkSession, config: Config, ds: date, ids: Iterable[str]) -> dict[str, Item]:
    """What the items table says of these items on the day; nothing without `report.item_name` and `item_picture`.

    Raises InputError and ConfigError as `read_table`.
    """
    source, report = config.items, config.report
    asked = {"name": report.item_name, "picture": report.item_picture}
    if source is None or not any(asked.values()):
        return {}
    wanted = {"item_id": Wanted("items.id", source.id, "id")}
    wanted |= {name: Wanted(f"report.item_{name}", text, "text") for name, text in asked.items() if text}
    if source.valid_from is not None:
        wanted["valid_from"] = Wanted("items.valid_from", source.valid_from, "time", source.time_unit)

    def read(damage: Damage) -> DataFrame:
        rows = read_table(spark, source, wanted, ds, damage).rows
        return rows.where(F.col(PROBLEM).isNull() & F.col("item_id").isin(*ids)).select(*wanted)

    rows = [row.asDict() for row in read_whole(source, lambda damage: read(damage).collect())]
    # Of several rows of an item the newest that holds on the day is taken.
    rows = [row for row in rows if row.get("valid_from") is None or row["valid_from"].date() <= ds]
    rows.sort(key=lambda row: str(row.get("valid_from") or ""))
    return {row["item_id"]: _item(row["item_id"], row.get("name"), row.get("picture")) for row in rows}


def _item(key: str, name: str | None, picture: str | None) -> Item:
    return Item(key, name or key, picture if picture and picture.startswith(WEB) else None)
