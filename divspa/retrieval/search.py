"""Top-k search of one table of vectors in another, as a Spark job; the plan follows from the sizes."""

from dataclasses import dataclass
from typing import Literal

from pyspark.sql import DataFrame

from divspa.errors import ConfigError
from divspa.retrieval.broadcast import search_broadcast
from divspa.retrieval.inputs import conform, measure
from divspa.retrieval.settings import SearchSettings

Plan = Literal["broadcast", "sharded", "routed"]


@dataclass(frozen=True)
class SearchReport:
    """What a search decided and measured; an exact plan has recall 1 by construction."""

    plan: Plan
    queries: int
    rows: int
    recall: float = 1.0
    nprobe: int = 0
    clusters: int = 0
    shards: int = 1


def top_k(
    queries: DataFrame,
    index: DataFrame,
    k: int,
    settings: SearchSettings = SearchSettings(),  # noqa: B008
    *,
    exclude_self: bool = False,
) -> DataFrame:
    """The k rows of the index with the largest inner product for each query (Section 3.2).

    `queries`: id BIGINT (unique), vector ARRAY<FLOAT>, optionally exclude ARRAY<INT or BIGINT>, the ids that this
    query must not get. `index`: id BIGINT (unique), vector ARRAY<FLOAT>. Returns one row a query: id BIGINT,
    ids ARRAY<BIGINT>, scores ARRAY<FLOAT>, best first, ties by ascending id; shorter than k only if fewer rows exist.
    A zero vector scores 0 against everything. Both inputs are read more than once: give tables or persisted frames.

    Raises TrainingError for vectors that are not finite or a recall below the floor, ContractError for nulls, missing
    columns, repeated ids or differing dimensions, ConfigError for a k below 1.
    """
    return search(queries, index, k, settings, exclude_self=exclude_self)[0]


def search(
    queries: DataFrame,
    index: DataFrame,
    k: int,
    settings: SearchSettings = SearchSettings(),  # noqa: B008
    *,
    exclude_self: bool = False,
) -> tuple[DataFrame, SearchReport]:
    """As `top_k`, with a report of the plan and its measured recall."""
    if k < 1:
        raise ConfigError("A search returns at least one row", expected="k of 1 or more", found=str(k))
    queries, index = conform(queries, index)
    sizes = measure(queries, index)
    report = SearchReport("broadcast", sizes.queries, sizes.rows)
    return search_broadcast(queries, index, sizes, k, exclude_self), report
