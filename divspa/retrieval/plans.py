"""Top-k search of one table of vectors in another, as a Spark job; the plan follows from the sizes."""

import math

from pyspark.sql import DataFrame

from divspa.errors import ConfigError
from divspa.retrieval.broadcast import search_broadcast
from divspa.retrieval.inputs import Request, Sizes, conform, measure, spread_evenly
from divspa.retrieval.placement import EvenPlacement
from divspa.retrieval.routed import Routing, plan_routing
from divspa.retrieval.scatter import search_scattered
from divspa.retrieval.settings import Plan, SearchReport, SearchSettings

SHARD_MB = 128
MIN_SHARDS = 4
ROUTED_ROWS = 200_000
ROUTED_PAIRS = 10**11
WORTHWHILE = 1 / 8


def top_k(
    queries: DataFrame,
    index: DataFrame,
    k: int,
    settings: SearchSettings = SearchSettings(),  # noqa: B008
    *,
    exclude_self: bool = False,
) -> DataFrame:
    """The k rows of the index with the largest inner product for each query (Section 3.2).

    `queries`: id BIGINT (unique), vector `ARRAY<FLOAT>`, optionally exclude, an array of ids that this
    query must not get. `index`: id BIGINT (unique), vector `ARRAY<FLOAT>`. Returns one row a query: id BIGINT,
    ids `ARRAY<BIGINT>`, scores `ARRAY<FLOAT>`, best first, ties by ascending id; shorter than k if fewer rows exist.
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
    request = spread_evenly(Request(queries, index, measure(queries, index), k, exclude_self))
    plan = choose_plan(request.sizes, settings)
    if plan == "routed":
        routing = plan_routing(request, settings)
        # Probing most of the clusters costs more than comparing everything, which is exact.
        if settings.plan == "routed" or routing.nprobe <= WORTHWHILE * routing.clusters.count:
            return _search_routed(request, routing, settings)
        plan = exact_plan(request.sizes, settings)
    if plan == "sharded":
        return _search_sharded(request, settings)
    return search_broadcast(request), SearchReport("broadcast", request.sizes.queries, request.sizes.rows)


def choose_plan(sizes: Sizes, settings: SearchSettings) -> Plan:
    """The plan for these sizes, whatever the cluster; searches without queries or rows need none of the others."""
    if not sizes.queries or not sizes.rows:
        return "broadcast"
    if settings.plan != "auto":
        return settings.plan
    large = sizes.rows >= ROUTED_ROWS and sizes.queries * sizes.rows >= ROUTED_PAIRS
    return "routed" if large else exact_plan(sizes, settings)


def exact_plan(sizes: Sizes, settings: SearchSettings) -> Plan:
    """The faster exact plan: the whole index in every task while it is small enough for that."""
    return "broadcast" if sizes.megabytes <= settings.broadcast_mb else "sharded"


def _search_sharded(request: Request, settings: SearchSettings) -> tuple[DataFrame, SearchReport]:
    sizes = request.sizes
    shards = settings.shards or max(2, math.ceil(sizes.megabytes / SHARD_MB))
    placement = EvenPlacement(shards, copies=math.ceil(2 * request.cores / shards))
    report = SearchReport("sharded", sizes.queries, sizes.rows, shards=shards)
    return search_scattered(request, placement), report


def _search_routed(request: Request, routing: Routing, settings: SearchSettings) -> tuple[DataFrame, SearchReport]:
    sizes = request.sizes
    shards = settings.shards or max(MIN_SHARDS, 2 * request.cores, math.ceil(sizes.megabytes / SHARD_MB))
    report = SearchReport(
        "routed",
        sizes.queries,
        sizes.rows,
        recall=routing.recall,
        nprobe=routing.nprobe,
        clusters=routing.clusters.count,
        shards=shards,
    )
    return search_scattered(request, routing.placement(shards)), report
