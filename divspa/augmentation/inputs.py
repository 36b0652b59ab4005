"""What the stage `augment` reads, at pinned versions: the training split, and what the base model made of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from pyspark.sql import DataFrame

from divspa.augmentation.ways.way import Way, tables_of
from divspa.config import Config
from divspa.errors import ContractError
from divspa.lake.tables import Lake
from divspa.lake.training_split import counted_clicks, trained_clicks
from divspa.schemas import EXAMPLES, ITEM_EMBEDDINGS, ITEM_FEATURES, USER_EMBEDDINGS, USER_FEATURES, Table
from divspa.sources.allowed import allowed_items

READ = (EXAMPLES, ITEM_EMBEDDINGS, ITEM_FEATURES, USER_EMBEDDINGS, USER_FEATURES)


@dataclass(frozen=True)
class Inputs:
    """`items` has item_index, item_id and vector, `addable` those of its rows that may be added; `users` has user_key,
    vector and clicked, and of a weighted log counted; `pairs` are the training examples; `tables` are those that the
    ways read beside.
    """

    items: DataFrame
    addable: DataFrame
    users: DataFrame
    pairs: DataFrame
    popularity: DataFrame
    tables: dict[str, DataFrame]
    model_version: str
    versions: dict[str, int]


def read_inputs(lake: Lake, config: Config, ds: date, ways: Mapping[str, Way]) -> Inputs:
    """Embeddings of the base model, and the training split. Raises ContractError when they are of two models."""
    of_ways = tables_of(ways.values())
    versions = {table.name: lake.version(table) for table in (*READ, *of_ways.values())}
    base = config.model.name

    def read(table: Table, **partition: object) -> DataFrame:
        return lake.read_day(table, ds, versions[table.name], **partition)

    items = read(ITEM_EMBEDDINGS, model=base)
    embedded = read(USER_EMBEDDINGS, model=base, as_of="cutoff")
    examples, catalogue = read(EXAMPLES), read(ITEM_FEATURES)
    # What nobody clicked is no positive of anybody: the base model only guesses it from its fields.
    clicked_items = items.join(catalogue.where("popularity > 0"), "item_index", "left_semi")
    clicked, pairs = trained_clicks(read(USER_FEATURES, as_of="cutoff"), examples), examples.where("split = 'train'")
    if config.clicks.is_weighted:
        clicked = counted_clicks(clicked, pairs)
    return Inputs(
        items=items,
        addable=allowed_items(clicked_items, config.divspa.allowed, config.items, ds, "divspa.allowed"),
        users=embedded.select("user_key", "vector").join(clicked, "user_key"),
        pairs=pairs,
        popularity=catalogue.select("item_index", "popularity"),
        tables={name: read(table) for name, table in of_ways.items()},
        model_version=one_model_version(items, embedded),
        versions=versions,
    )


def one_model_version(items: DataFrame, users: DataFrame) -> str:
    """The model version of both embeddings. Raises ContractError when they differ, as after a training cut short."""
    found = sorted({row.model_version for side in (items, users) for row in side.select("model_version").take(1)})
    if len(found) > 1:
        raise ContractError(
            "The embeddings of users and items are of different models",
            expected="one model_version",
            found=" and ".join(found),
            remedy="run `train_base` of this day again",
        )
    return found[0]
