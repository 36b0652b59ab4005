"""What other programs call: the parts of divspa over their own tables, without its lake."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from divspa.augmentation.augment import PAIRS_PER_TASK, augment_pairs
from divspa.augmentation.candidates import gathered
from divspa.augmentation.inputs import Inputs
from divspa.augmentation.pairs import Draws
from divspa.augmentation.settings import DivSPA
from divspa.augmentation.ways.registry import chosen_ways
from divspa.augmentation.ways.way import Way, tables_of
from divspa.config import Config
from divspa.errors import ConfigError, ContractError, TrainingError
from divspa.evaluation.metrics import accuracy
from divspa.evaluation.statistics import Comparison, compare_all, holm, verdict
from divspa.gains import gains
from divspa.schemas import ITEM_FEATURES
from divspa.schemas.vocabulary import FIRST_INDEX

SAMPLED = ["sampled_item_ids", "sampled_scores", "sampled_weights", "sampled_sources"]
# What only the stage `augment` obeys, which has an items table, trials and a table of its figures.
OF_THE_STAGE = ("choose", "allowed", "gates")


def augment(
    pairs: DataFrame,
    users: DataFrame,
    items: DataFrame,
    settings: DivSPA = DivSPA(),  # noqa: B008
    *,
    seed: int = 17,
    tasks: int = 4,
) -> DataFrame:
    """More positives for every pair, from the embeddings of any model (Section 3.2).

    `pairs`: user_id, item_id; what the model has learned from, repeats count once. `users`: user_id, vector
    `ARRAY<FLOAT>`. `items`: item_id, vector. Vectors have one length D; s(u, v) is their inner product.
    Of `settings` the ways that read no other table may be given: u2i, i2i, u2u2i, random; beta, mixup, weights and
    start are of the training that follows. An item's popularity is its pairs. The catalogue, O(items * D) bytes, is
    broadcast. All three are read more than once: give tables or persisted frames.

    Returns one row a pair and draw, computed once: user_id, item_id, draw and, of equal length (0 where there was
    nothing to add), sampled_item_ids `ARRAY<STRING>`, sampled_scores (s(u, v)), sampled_weights (Eq. 3 without beta)
    and sampled_sources (the ways that found the item, joined by +). Pairs whose user or item has no vector are left
    out. The same inputs and seed give the same rows, whatever the partitions.

    Raises ConfigError for a way or a setting that needs more than this, ContractError for a missing column, ids that
    repeat or are null and vectors of several lengths, TrainingError for vectors that are not finite.
    """
    ways = _ways_without_a_lake(settings)
    _require_columns("pairs", pairs, "user_id", "item_id")
    widths = _widths("users", users, "user_id") | _widths("items", items, "item_id")
    if len(widths) > 1:
        found = " and ".join(map(str, sorted(widths)))
        raise ContractError("The vectors to augment with differ in length", expected="one length", found=found)
    inputs = _inputs(pairs, users, items)
    draws = Draws(settings, {name: way.number for name, way in ways.items()}, seed, 0)
    tasks = max(tasks, math.ceil(inputs.pairs.count() / PAIRS_PER_TASK))
    try:
        with gathered(inputs, ways, settings, tasks) as candidates:
            # Computed while the catalogue is still on the workers.
            return _without_padding(augment_pairs(inputs.pairs, candidates, draws)).localCheckpoint()
    finally:
        inputs.pairs.unpersist()
        inputs.items.unpersist()


def _inputs(pairs: DataFrame, users: DataFrame, items: DataFrame) -> Inputs:
    """What the lake would hold of them; pairs and items are persisted."""
    indexed = _indexed(items)
    known = _as_texts(pairs).distinct().join(indexed.select("item_id", "item_index"), "item_id")
    keys = {"user_key": F.xxhash64("user_id"), "example_id": F.xxhash64("user_id", "item_id"), "weight": F.lit(1.0)}
    known = known.withColumns(keys)
    key = F.xxhash64(F.col("user_id").cast("string")).alias("user_key")
    vectors = users.select(key, F.col("vector").cast("array<float>"))
    clicked = known.groupBy("user_key").agg(F.array_sort(F.collect_set("item_index")).alias("clicked"))
    known = known.join(vectors.select("user_key"), "user_key", "left_semi").persist()
    clicks = known.groupBy("item_index").agg(F.count("*").alias("popularity"))
    popularity = indexed.select("item_index").join(clicks, "item_index", "left").fillna(0)
    return Inputs(
        items=indexed,
        addable=indexed,
        users=vectors.join(clicked, "user_key"),
        pairs=known,
        popularity=popularity,
        tables={ITEM_FEATURES.name: popularity},
        model_version="",
        versions={},
    )


def _as_texts(pairs: DataFrame) -> DataFrame:
    return pairs.select(*(F.col(name).cast("string") for name in ("user_id", "item_id")))


def _indexed(items: DataFrame) -> DataFrame:
    """item_id, vector and item_index, which follows from the order of the ids."""
    place = F.row_number().over(Window.orderBy("item_id")) + (FIRST_INDEX - 1)
    vectors = items.select(F.col("item_id").cast("string"), F.col("vector").cast("array<float>"))
    return vectors.withColumn("item_index", place.cast("int")).persist()


def _without_padding(rows: DataFrame) -> DataFrame:
    """The rows with arrays as long as what was added: padding, of index 0, stands last."""
    added = F.size(F.filter("sampled_item_indices", lambda index: index > 0))
    return rows.select("user_id", "item_id", "draw", *(F.slice(name, F.lit(1), added).alias(name) for name in SAMPLED))


def _ways_without_a_lake(settings: DivSPA) -> dict[str, Way]:
    ways = chosen_ways(settings)
    if needed := tables_of(ways.values()).keys() - {ITEM_FEATURES.name}:
        raise ConfigError(
            f"Ways that read {', '.join(sorted(needed))} cannot be taken here", expected="u2i, i2i, u2u2i or random"
        )
    if beyond := [name for name in OF_THE_STAGE if getattr(settings, name) != getattr(DivSPA(), name)]:
        raise ConfigError(
            "Settings that only the stage `augment` obeys are given",
            found=", ".join(beyond),
            remedy="leave them as they are by default, and filter the items or what is returned",
        )
    return ways


def _require_columns(side: str, rows: DataFrame, *columns: str) -> None:
    if missing := [column for column in columns if column not in rows.columns]:
        found = f"no {', '.join(missing)}"
        raise ContractError(f"The frame {side} lacks columns", expected=", ".join(columns), found=found)


def _widths(side: str, rows: DataFrame, key: str) -> set[int]:
    """The lengths of the vectors, of which each id has one. Raises as `augment` does."""
    _require_columns(side, rows, key, "vector")
    _require_unique(side, rows, key)
    rows = rows.select(F.col(key).cast("string").alias("id"), F.col("vector").cast("array<float>").alias("vector"))
    broken = F.exists("vector", lambda x: x.isNull() | F.isnan(x) | (F.abs(x) == float("inf")))
    found = rows.agg(
        F.count_if(F.col("id").isNull()).alias("nameless"),
        F.max(F.when(F.coalesce(broken, F.lit(True)), F.col("id"))).alias("broken"),
        F.collect_set(F.size("vector")).alias("widths"),
    ).collect()[0]
    if found["nameless"] or not found["widths"]:
        each = f"{found['nameless']} without one" if found["nameless"] else "no rows"
        raise ContractError(f"The {side} to augment with need ids", expected=f"rows with a {key}", found=each)
    if found["broken"] is not None:
        where = f"{key} {found['broken']}"
        raise TrainingError(f"A vector of the {side} is not finite", expected="numbers", found=where)
    return set(found["widths"])


def _require_unique(side: str, rows: DataFrame, key: str) -> None:
    repeated = rows.groupBy(key).count().where("count > 1").first()
    if repeated is not None:
        raise ContractError(f"The {side} repeat an id", expected=f"one row a {key}", found=f"{repeated[key]} twice")


@dataclass(frozen=True)
class Evaluation:
    """Metrics by model and name, such as `hr@50`, and what each model's figures are worth against another's."""

    metrics: dict[str, dict[str, float]]
    comparisons: dict[tuple[str, str], Comparison]

    def table(self) -> pd.DataFrame:
        """One row a model and metric that was compared: value, against, relative, low, high, p_t, p_permutation, and
        p_holm, which is p_t raised for the number of rows, with the verdict that it allows.
        """
        corrected = holm([each.p_t for each in self.comparisons.values()])
        rows = [
            {"model": model, "metric": metric, "relative": each.relative, **vars(each)}
            | {"p_holm": p_holm, "verdict": verdict(each.value - each.against, p_holm)}
            for ((model, metric), each), p_holm in zip(self.comparisons.items(), corrected, strict=True)
        ]
        return pd.DataFrame(rows)


def evaluate(
    lists: Mapping[str, DataFrame],
    events: DataFrame,
    *,
    against: str,
    ks: tuple[int, ...] = (50, 100, 200),
    seed: int = 17,
) -> Evaluation:
    """Metrics of recommended lists at test events, and what each model's difference to `against` is worth.

    `lists` has by the name of a model one row a user: user_id, item_ids, best first, without what the user had before.
    `events`: user_id, item_id; one row a test click, of which some thousands to millions fit the driver. An event whose
    item is not in its user's list is a miss at every k; lists have to be as long as the largest k, or its figures are
    those of what there is. Differences are tested by user, with 95 % bootstrap intervals, a paired t-test and sign
    flips. Raises ConfigError when `against` is none of the models and for a k below 1, ContractError for a missing
    column, a user with two lists and no events.
    """
    if against not in lists:
        raise ConfigError("`against` names no model", expected=", ".join(lists), found=against)
    if not ks or min(ks) < 1:
        raise ConfigError("A metric is of the first k places", expected="`ks` of 1 or more", found=str(tuple(ks)))
    _require_columns("events", events, "user_id", "item_id")
    asked = _as_texts(events).withColumn("event", F.monotonically_increasing_id()).persist()
    users_T = asked.orderBy("event").select(F.xxhash64("user_id")).toPandas().iloc[:, 0].to_numpy()
    if not len(users_T):
        raise ContractError("There is nothing to evaluate at", expected="events", found="no rows")
    for model, rows in lists.items():
        _require_columns(f"lists of {model}", rows, "user_id", "item_ids")
        _require_unique(f"lists of {model}", rows, "user_id")
    ranks = {model: _ranks(asked, rows) for model, rows in lists.items()}
    asked.unpersist()
    metrics = {model: accuracy(ranks_T, users_T, ks) for model, ranks_T in ranks.items()}
    compared = [(model, f"{name}@{k}") for model in ranks if model != against for name in ("hr", "ndcg") for k in ks]
    pairs = [(gains(ranks[model], metric), gains(ranks[against], metric)) for model, metric in compared]
    found = compare_all(pairs, users_T, seed)
    return Evaluation(metrics, dict(zip(compared, found, strict=True)))


def _ranks(asked: DataFrame, lists: DataFrame) -> NDArray[np.int64]:
    """The place of each event's item in its user's list, from 0; beyond every k where it is not in it."""
    texts = F.col("user_id").cast("string").alias("user_id"), F.col("item_ids").cast("array<string>").alias("item_ids")
    found = asked.join(lists.select(*texts), "user_id", "left")
    place = F.coalesce(F.array_position("item_ids", F.col("item_id")), F.lit(0))
    rows = found.orderBy("event").select(F.when(place > 0, place - 1).otherwise(np.iinfo(np.int32).max)).toPandas()
    return rows.iloc[:, 0].to_numpy().astype(np.int64)


def run(config: Config, ds: date | str, *, first: str | None = None, last: str | None = None) -> dict[str, float]:
    """Run the stages of a day, or those from `first` to `last`, and return the seconds that each took.

    `ds` is the logical day, a date or YYYY-MM-DD: later clicks are not seen. Sizes that are not set follow from the
    inputs, and Spark is started, or taken where one runs already. Raises the errors of divspa.errors; a stage that ran
    again replaces its day.
    """
    from divspa.lake.session import spark_session
    from divspa.lake.sizes import with_sizes
    from divspa.lake.tables import Lake
    from divspa.pipeline import run_stages

    day = ds if isinstance(ds, date) else _day(ds)
    config = with_sizes(config.with_whole_lake(), [day])
    spark = spark_session(config.spark, paths=config.paths, event_log=config.event_log)
    return run_stages(Lake(spark, config.lake), config, day, first, last)


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ConfigError("The logical day `ds` is no day", expected="a date or YYYY-MM-DD", found=text) from None
