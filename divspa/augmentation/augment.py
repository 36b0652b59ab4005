"""Stage `augment`: find more positives for every click and write them, sampled and weighted, to Delta."""

import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date

import pyarrow as pa
from pyspark import Broadcast, StorageLevel
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from divspa.augmentation.candidates import build_catalogue, user_states
from divspa.augmentation.catalogue import Catalogue
from divspa.augmentation.pairs import PAIR, Draws, augment_batches
from divspa.augmentation.summary import check_gates, summarise
from divspa.augmentation.tally import Tally, tally_batches
from divspa.config import Config, fingerprint
from divspa.errors import ContractError
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


@dataclass(frozen=True)
class Inputs:
    """What the stage reads, at pinned versions; `users` has user_key, vector and clicked."""

    items: DataFrame
    addable: DataFrame
    users: DataFrame
    pairs: DataFrame
    popularity: DataFrame
    model_version: str
    versions: dict[str, int]


def augment(lake: Lake, config: Config, ds: date) -> None:
    """Write augmented_positives and augmentation_summary of one day, from the base model's embeddings.

    Teacher, neighbours and candidates know the training split only. Raises GateError, before anything is written, when
    the summary fails a gate.
    """
    settings, inputs = config.divspa, read_inputs(lake, config, ds)
    users = inputs.users.persist(StorageLevel.MEMORY_AND_DISK)
    catalogue, searches = build_catalogue(inputs.items, inputs.addable, inputs.popularity, settings)
    shared = lake.spark.sparkContext.broadcast(catalogue)
    tasks = max(config.spark.partitions, math.ceil(inputs.pairs.count() / PAIRS_PER_TASK))
    states, of_users = user_states(users, inputs.addable, shared, settings, tasks)
    states = states.persist(StorageLevel.MEMORY_AND_DISK)
    draws = Draws(settings, config.seed, ds.toordinal())
    tally = tally_pairs(inputs.pairs, states, shared, draws, tasks)
    summary = summarise(tally, catalogue.popularity_V, searches | of_users, settings)
    for warning in check_gates(summary, settings):
        console.print(f"Warning: {warning}", soft_wrap=True, highlight=False)
    provenance = {
        "model_version": inputs.model_version,
        "settings_hash": fingerprint(settings, config.seed, ds, inputs.model_version),
        "source_versions": json.dumps(inputs.versions),
    }
    augmented = augment_pairs(inputs.pairs, states, shared, draws, tasks)
    augmented = augmented.withColumns({name: F.lit(value) for name, value in provenance.items()})
    lake.replace_day(AUGMENTED_POSITIVES, augmented, ds, unique=True)
    names = AUGMENTATION_SUMMARY.names_within_day
    lake.replace_day_with(AUGMENTATION_SUMMARY, [tuple(row[name] for name in names) for row in summary], ds)
    for kept in (users, states):
        kept.unpersist()
    shared.destroy()


def read_inputs(lake: Lake, config: Config, ds: date) -> Inputs:
    """Embeddings of the base model, and the training split. Raises ContractError when they are of two models."""
    base, versions = config.model.name, {table.name: lake.version(table) for table in READ}

    def read(table: Table, **partition: object) -> DataFrame:
        return lake.read_day(table, ds, versions[table.name], **partition)

    items = read(ITEM_EMBEDDINGS, model=base)
    embedded = read(USER_EMBEDDINGS, model=base, as_of="cutoff")
    examples = read(EXAMPLES)
    clicked = without_held_out(read(USER_FEATURES, as_of="cutoff"), examples.where("split = 'valid'"))
    return Inputs(
        items=items,
        addable=allowed_items(items, config.divspa.allowed, config.items, ds, "divspa.allowed"),
        users=embedded.select("user_key", "vector").join(clicked, "user_key"),
        pairs=examples.where("split = 'train'"),
        popularity=read(ITEM_FEATURES).select("item_index", "popularity"),
        model_version=one_model_version(items, embedded),
        versions=versions,
    )


def without_held_out(users: DataFrame, valid: DataFrame) -> DataFrame:
    """user_key and clicked, less the split `valid`: a clicked item is not added, and no way could find these again."""
    held_out = valid.groupBy("user_key").agg(F.collect_set("item_index").alias("held_out"))
    kept = F.coalesce(F.array_except("clicked", "held_out"), "clicked")
    return users.join(F.broadcast(held_out), "user_key", "left").select("user_key", kept.alias("clicked"))


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
