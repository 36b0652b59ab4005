"""Stage `augment`: find more positives for every click and write them, sampled and weighted, to Delta."""

import json
import math
from collections.abc import Iterable, Iterator
from datetime import date

import numpy as np
import pyarrow as pa
from pyspark import Broadcast, StorageLevel
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from divspa.augmentation.candidates import build_catalogue, user_states
from divspa.augmentation.catalogue import Catalogue
from divspa.augmentation.pairs import PAIR, Draws, augment_batches
from divspa.augmentation.summary import Summary, check_gates, summarise
from divspa.augmentation.tally import Tally, tally_batches
from divspa.config import Config, fingerprint
from divspa.lake.allowed import allowed_items
from divspa.lake.tables import Lake
from divspa.progress import console
from divspa.retrieval import worker_errors
from schemas import (
    AUGMENTATION_SUMMARY,
    AUGMENTED_POSITIVES,
    EXAMPLES,
    ITEM_EMBEDDINGS,
    ITEM_FEATURES,
    USER_EMBEDDINGS,
    USER_FEATURES,
    Table,
)

READ = (EXAMPLES, ITEM_EMBEDDINGS, ITEM_FEATURES, USER_EMBEDDINGS, USER_FEATURES)
PAIRS_PER_TASK = 500_000


def augment(lake: Lake, config: Config, ds: date) -> None:
    """Write augmented_positives and augmentation_summary of one day, from the base model's embeddings.

    Teacher, neighbours and candidates know the training split only: what is held out for validation counts as
    not clicked. Raises GateError, before anything is written, when
    the summary fails a gate.
    """
    settings, base = config.divspa, config.model.name
    versions = {table.name: lake.version(table) for table in READ}

    def read(table: Table, **partition: object) -> DataFrame:
        return lake.read_day(table, ds, versions[table.name], **partition)

    items, pairs = read(ITEM_EMBEDDINGS, model=base), read(EXAMPLES, split="train")
    clicked = without_held_out(read(USER_FEATURES, as_of="cutoff"), lake.read(EXAMPLES, versions[EXAMPLES.name]), ds)
    vectors = read(USER_EMBEDDINGS, model=base, as_of="cutoff").select("user_key", "vector")
    users = vectors.join(clicked, "user_key").persist(StorageLevel.MEMORY_AND_DISK)
    addable = allowed_items(items, settings.allowed, config.items, ds, "divspa.allowed")
    catalogue, searches = build_catalogue(items, addable, settings)
    shared = lake.spark.sparkContext.broadcast(catalogue)
    tasks = max(config.spark.partitions, math.ceil(pairs.count() / PAIRS_PER_TASK))
    states, of_users = user_states(users, addable, shared, settings, tasks)
    states = states.persist(StorageLevel.MEMORY_AND_DISK)
    draws = Draws(settings, config.seed, ds.toordinal())
    tally = tally_pairs(pairs, states, shared, draws, tasks)
    summary = summarise(tally, popularity(read(ITEM_FEATURES), catalogue.size), searches | of_users, settings)
    for warning in check_gates(summary, settings):
        console.print(f"Warning: {warning}", soft_wrap=True, highlight=False)
    version = items.select("model_version").first()[0]  # pyright: ignore[reportOptionalSubscript]
    provenance = {
        "model_version": version,
        "settings_hash": fingerprint(settings, config.seed, ds, version),
        "source_versions": json.dumps(versions),
    }
    augmented = augment_pairs(pairs, states, shared, draws, tasks)
    augmented = augmented.withColumns({name: F.lit(value) for name, value in provenance.items()})
    lake.replace_day(AUGMENTED_POSITIVES, augmented, ds, unique=True)
    lake.replace_day(AUGMENTATION_SUMMARY, as_rows(lake, summary), ds)
    for kept in (users, states):
        kept.unpersist()
    shared.destroy()


def without_held_out(users: DataFrame, examples: DataFrame, ds: date) -> DataFrame:
    """user_key and clicked, less those of the split `valid`, or no way could add what validation asks for."""
    valid = examples.where((F.col("ds") == F.lit(ds)) & (F.col("split") == "valid"))
    held_out = valid.groupBy("user_key").agg(F.collect_set("item_index").alias("held_out"))
    joined = users.join(F.broadcast(held_out), "user_key", "left")
    nothing = F.array().cast("array<int>")
    kept = F.array_except("clicked", F.coalesce("held_out", nothing))
    return joined.select(
        "user_key", F.when(F.col("held_out").isNull(), F.col("clicked")).otherwise(kept).alias("clicked")
    )


def augment_pairs(
    pairs: DataFrame, states: DataFrame, shared: Broadcast[Catalogue], draws: Draws, tasks: int
) -> DataFrame:
    """The pairs with their sampled positives. One row a pair and draw."""

    def augment_sorted(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return augment_batches(batches, shared.value, draws)

    schema = ", ".join(f"{field.name} {field.dataType.simpleString()}" for field in pairs.select(PAIR).schema)
    schema += ", draw int, sampled_item_ids array<string>, sampled_item_indices array<int>"
    schema += ", sampled_scores array<float>, sampled_weights array<float>, sampled_sources array<string>"
    return _after_their_users(pairs.select("user_key", *PAIR), states, tasks).mapInArrow(augment_sorted, schema)


def tally_pairs(pairs: DataFrame, states: DataFrame, shared: Broadcast[Catalogue], draws: Draws, tasks: int) -> Tally:
    """What the first draw of every pair will add, counted without writing it."""

    def tally_sorted(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return tally_batches(batches, shared.value, draws)

    stream = _after_their_users(pairs.select("user_key", "example_id", "item_index"), states, tasks)
    with worker_errors():
        parts = stream.mapInArrow(tally_sorted, "tally binary").collect()
    tallies = [Tally.from_bytes(part.tally) for part in parts]
    return sum(tallies[1:], tallies[0])


def _after_their_users(pairs: DataFrame, states: DataFrame, tasks: int) -> DataFrame:
    """Users and pairs in one stream sorted by user: a user's state is sent once and not with every pair."""
    users = states.withColumn("is_pair", F.lit(False))
    rows = pairs.withColumn("is_pair", F.lit(True))
    stream = users.unionByName(rows, allowMissingColumns=True).repartition(tasks, "user_key")
    return stream.sortWithinPartitions("user_key", "is_pair", "example_id")


def popularity(item_features: DataFrame, size: int) -> np.ndarray:
    """Training clicks by item index."""
    rows = item_features.select("item_index", "popularity").toArrow()
    popularity_V = np.zeros(size, np.int64)
    popularity_V[rows["item_index"].to_numpy()] = rows["popularity"].to_numpy()
    return popularity_V


def as_rows(lake: Lake, summary: Summary) -> DataFrame:
    """The rows of augmentation_summary, typed by its contract."""
    columns = [column for column in AUGMENTATION_SUMMARY.columns if column.name != "ds"]
    schema = ", ".join(f"{column.name} {column.type}" for column in columns)
    return lake.spark.createDataFrame([tuple(row[column.name] for column in columns) for row in summary], schema)
