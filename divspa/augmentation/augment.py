"""Stage `augment`: find more positives for every click and write them, sampled and weighted, to Delta."""

import json
import math
from collections.abc import Iterable, Iterator
from datetime import date

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from divspa.augmentation.candidates import Gathered, gathered
from divspa.augmentation.inputs import read_inputs
from divspa.augmentation.pairs import PAIR, Draws, augment_batches
from divspa.augmentation.summary import check_gates, summarise
from divspa.augmentation.tally import Tally, tally_batches
from divspa.augmentation.ways.registry import chosen_ways
from divspa.config import Config
from divspa.lake.tables import Lake
from divspa.progress import console
from divspa.retrieval import worker_errors
from divspa.schemas import AUGMENTATION_SUMMARY, AUGMENTED_POSITIVES
from divspa.settings import fingerprint

PAIRS_PER_TASK = 500_000


def augment(lake: Lake, config: Config, ds: date) -> None:
    """Write augmented_positives and augmentation_summary of one day, from the base model's embeddings.

    Teacher, neighbours and candidates know the training split only. Raises GateError, before anything is written, when
    the summary fails a gate.
    """
    settings, ways = config.divspa, chosen_ways(config.divspa)
    inputs = read_inputs(lake, config, ds, ways)
    draws = Draws(settings, {name: way.number for name, way in ways.items()}, config.seed, ds.toordinal())
    tasks = max(config.spark.tasks, math.ceil(inputs.pairs.count() / PAIRS_PER_TASK))
    with gathered(inputs, ways, settings, tasks) as candidates:
        tally = tally_pairs(inputs.pairs, candidates, draws)
        summary = summarise(tally, candidates.popularity_V, ways, candidates.searches)
        for warning in check_gates(summary, settings):
            console.print(f"Warning: {warning}", soft_wrap=True, highlight=False)
        provenance = {
            "model_version": inputs.model_version,
            "settings_hash": fingerprint(settings, config.seed, ds, inputs.model_version),
            "source_versions": json.dumps(inputs.versions),
        }
        augmented = augment_pairs(inputs.pairs, candidates, draws)
        augmented = augmented.withColumns({name: F.lit(value) for name, value in provenance.items()})
        lake.replace_day(AUGMENTED_POSITIVES, augmented, ds, unique=True)
    names = AUGMENTATION_SUMMARY.names_within_day
    lake.replace_day_with(AUGMENTATION_SUMMARY, [tuple(row[name] for name in names) for row in summary], ds)


def augment_pairs(pairs: DataFrame, candidates: Gathered, draws: Draws) -> DataFrame:
    """The pairs with their sampled positives. One row a pair and draw."""
    catalogue = candidates.catalogue

    def augment_sorted(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return augment_batches(batches, catalogue.value, draws)

    own = [name for name in PAIR if name in pairs.columns]
    schema = (
        columns_of(pairs.select(own)) + ", draw int, sampled_item_ids array<string>, sampled_item_indices array<int>"
    )
    schema += ", sampled_scores array<float>, sampled_weights array<float>, sampled_sources array<string>"
    return after_their_users(pairs.select("user_key", *own), candidates).mapInArrow(augment_sorted, schema)


def columns_of(rows: DataFrame) -> str:
    """The columns of rows as a Spark schema in text, to which others may be added."""
    return ", ".join(f"{field.name} {field.dataType.simpleString()}" for field in rows.schema)


def tally_pairs(pairs: DataFrame, candidates: Gathered, draws: Draws) -> Tally:
    """What the first draw of every pair will add, counted without writing it."""
    catalogue = candidates.catalogue

    def tally_sorted(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return tally_batches(batches, catalogue.value, draws)

    stream = after_their_users(pairs.select("user_key", "example_id", "item_index"), candidates)
    with worker_errors():
        parts = stream.mapInArrow(tally_sorted, "tally binary").collect()
    tallies = [Tally.from_bytes(part.tally) for part in parts]
    return sum(tallies[1:], tallies[0])


def after_their_users(pairs: DataFrame, candidates: Gathered) -> DataFrame:
    """Users and pairs in one stream sorted by user: a user's state is sent once and not with every pair."""
    users = candidates.states.withColumn("is_pair", F.lit(False))
    rows = pairs.withColumn("is_pair", F.lit(True))
    stream = users.unionByName(rows, allowMissingColumns=True).repartition(candidates.tasks, "user_key")
    return stream.sortWithinPartitions("user_key", "is_pair", "example_id")
