"""The seam of the ways: what a way is, what it is given, and what it gives back."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from divspa.augmentation.catalogue import Complete
from divspa.augmentation.settings import DivSPA
from divspa.retrieval import SearchReport
from divspa.schemas import Table

# Candidates of an item that the user has clicked are passed over, so more than k are kept for each item.
SPARE = 3


@dataclass(frozen=True)
class Known:
    """What a way may look at: the training split, and what the base model made of it.

    `items` has item_index, item_id and vector, and `addable` those of its rows that may be added as positives; `users`
    has user_key, vector and clicked (ascending), where clicks have weights those of them that are drawn to count
    (counted), and is persisted. `unit_length` says whether the vectors have it.
    `tables` holds the day of every table that the way reads, by name. A shuffle by user takes `tasks` partitions.
    """

    items: DataFrame
    addable: DataFrame
    users: DataFrame
    unit_length: bool
    settings: DivSPA
    tasks: int
    tables: Mapping[str, DataFrame] = field(default_factory=dict)


@dataclass(frozen=True)
class Found:
    """The candidates of a way, and the report of its search where it searched.

    `candidates`, best first: id BIGINT (user_key or item_index), ids `ARRAY<INT>` (item_index), scores `ARRAY<FLOAT>`.
    An item has one row, without itself; of a user's rows the items are pooled, and a null instead of scores asks for
    s(u, v). What the user clicked may stand among them, to be passed over and counted; what may not be added is left
    out.
    """

    candidates: DataFrame
    report: SearchReport | None = None


@dataclass(frozen=True)
class Way:
    """One way to more positives.

    It starts from the user of a pair or from its clicked item. The draw's hash takes `number`, which is the way's own
    for good. A way that starts from an item may complete the pairs whose user clicked most of what it found. `reads`
    names tables of the day beside those that every augmentation reads.
    """

    number: int
    start: Literal["user", "item"]
    find: Callable[[Known], Found]
    complete: Complete | None = None
    reads: tuple[Table, ...] = ()


def tables_of(ways: Iterable[Way]) -> dict[str, Table]:
    """The tables that some ways read beside those of every augmentation, by name."""
    return {table.name: table for way in ways for table in way.reads}


def ids_of(column: str) -> Column:
    """A key as the id of a search."""
    return F.col(column).cast("bigint").alias("id")


def candidates_of(rows: DataFrame, ids: str, scores: str | None) -> DataFrame:
    """Rows with an id in the columns of Found.candidates; without scores they ask for s(u, v)."""
    given = F.lit(None) if scores is None else F.col(scores)
    typed = F.col(ids).cast("array<int>").alias("ids"), given.cast("array<float>").alias("scores")
    return rows.select(F.col("id").cast("bigint").alias("id"), *typed)


def directions(rows: DataFrame, known: Known) -> DataFrame:
    """Vectors at unit length where the model's are not: an inner product would find the longest, not the nearest."""
    if known.unit_length:
        return rows
    squares = F.transform("vector", lambda value: value.cast("double") * value)
    length = F.sqrt(F.aggregate(squares, F.lit(0.0), lambda total, square: total + square))
    longer = F.greatest(length, F.lit(1e-30))
    return rows.withColumn("vector", F.transform("vector", lambda value: (value / longer).cast("float")))
