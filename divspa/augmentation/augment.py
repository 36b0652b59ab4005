"""Stage `augment`: find more positives for every click and write them, sampled and weighted, to Delta."""

from collections.abc import Iterable, Iterator
from datetime import date

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from divspa.arrow import padded
from divspa.augmentation.candidates import item_candidates, item_vectors, neighbour_candidates, user_candidates
from divspa.augmentation.pairs import PAIR, Catalogue, augment_batches
from divspa.augmentation.summary import summarise
from divspa.config import Config, DivSPA, fingerprint
from divspa.lake.tables import Lake
from schemas import (
    AUGMENTATION_SUMMARY,
    AUGMENTED_POSITIVES,
    EXAMPLES,
    ITEM_EMBEDDINGS,
    ITEM_FEATURES,
    USER_EMBEDDINGS,
    USER_FEATURES,
)

# Candidates of an item that a user has clicked already are dropped, so more than k are kept for each item.
I2I_SPARE = 3


def augment(lake: Lake, config: Config, ds: date) -> None:
    """Write augmented_positives and augmentation_summary of one day, from the base model's embeddings.

    Teacher, neighbours and candidates know the training split only.
    """
    base = config.model.name
    items = lake.read_day(ITEM_EMBEDDINGS, ds, model=base)
    clicked = lake.read_day(USER_FEATURES, ds, as_of="cutoff").select("user_key", "clicked")
    users = lake.read_day(USER_EMBEDDINGS, ds, model=base, as_of="cutoff").join(clicked, "user_key")
    pairs = lake.read_day(EXAMPLES, ds, split="train")
    version = items.select("model_version").first()[0]  # pyright: ignore[reportOptionalSubscript]
    catalogue = build_catalogue(items, config.divspa)
    states = user_states(users.select("user_key", "vector", "clicked"), items, config.divspa)
    augmented = augment_pairs(pairs, states, catalogue, config.divspa, config.seed, ds).withColumns(
        {
            "model_version": F.lit(version),
            "settings_hash": F.lit(fingerprint(config.divspa, config.seed, ds, version)),
        }
    )
    lake.replace_day(AUGMENTED_POSITIVES, augmented, ds)
    popularity = lake.read_day(ITEM_FEATURES, ds).select("item_index", "popularity")
    written = lake.read_day(AUGMENTED_POSITIVES, ds)
    lake.replace_day(AUGMENTATION_SUMMARY, summarise(written, popularity, config.divspa.ways), ds)


def user_states(users: DataFrame, items: DataFrame, settings: DivSPA) -> DataFrame:
    """What is needed of a user to augment the user's pairs. One row a user: key, vector, clicked, candidates by way."""
    states = users
    ways = {
        "u2i": lambda: user_candidates(users, items, settings.top_k),
        "u2u2i": lambda: neighbour_candidates(users, items, settings.top_k_users, settings.top_k),
    }
    for way, find in ways.items():
        if way in settings.ways:
            found = find().select("user_key", F.col("ids").alias(f"{way}_ids"), F.col("scores").alias(f"{way}_scores"))
            states = states.join(found, "user_key", "left")
        else:
            nothing = {f"{way}_ids": F.array().cast("array<bigint>"), f"{way}_scores": F.array().cast("array<float>")}
            states = states.withColumns(nothing)
    return states


def build_catalogue(items: DataFrame, settings: DivSPA) -> Catalogue:
    """Items, their vectors and their i2i candidates, gathered on the driver for broadcast: O(items * k) bytes."""
    names = items.select("item_index", "item_id").toPandas().set_index("item_index")["item_id"]
    vectors_VD = item_vectors(items)
    width = settings.top_k * I2I_SPARE
    ids_VK, scores_VK = np.zeros((len(vectors_VD), width), np.int64), np.zeros((len(vectors_VD), width), np.float32)
    if "i2i" in settings.ways:
        found = item_candidates(items, width).toArrow().combine_chunks()
        row = found["item_index"].to_numpy()
        ids_VK[row] = padded(found["ids"].combine_chunks(), width, 0)
        scores_VK[row] = padded(found["scores"].combine_chunks(), width, 0)
    item_ids = names.reindex(range(len(vectors_VD)), fill_value="")
    return Catalogue(pa.array(item_ids, pa.string()), vectors_VD, ids_VK, scores_VK)


def augment_pairs(
    pairs: DataFrame, states: DataFrame, catalogue: Catalogue, settings: DivSPA, seed: int, ds: date
) -> DataFrame:
    """The pairs with their sampled positives. One row a pair and draw.

    Users and pairs travel in one stream sorted by user, so a user's candidates are sent once and not with every pair.
    """
    shared = pairs.sparkSession.sparkContext.broadcast(catalogue)
    day = ds.toordinal()
    users = states.withColumn("is_pair", F.lit(False))
    rows = pairs.select("user_key", *PAIR).withColumn("is_pair", F.lit(True))
    stream = users.unionByName(rows, allowMissingColumns=True).repartition("user_key")

    def augment_sorted(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return augment_batches(batches, shared.value, settings, seed, day)

    schema = ", ".join(f"{field.name} {field.dataType.simpleString()}" for field in pairs.select(PAIR).schema)
    schema += ", draw int, sampled_item_ids array<string>, sampled_item_indices array<int>"
    schema += ", sampled_scores array<float>, sampled_weights array<float>, sampled_sources array<string>"
    return stream.sortWithinPartitions("user_key", "is_pair", "example_id").mapInArrow(augment_sorted, schema)
