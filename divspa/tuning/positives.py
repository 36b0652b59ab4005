"""Positives of every setting that is tried, drawn for a sample of the pairs from candidates that are gathered once."""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date
from itertools import accumulate
from urllib.parse import unquote

import numpy as np
import pyarrow as pa
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from divspa.arrow import list_column
from divspa.augmentation.augment import PAIRS_PER_TASK, after_their_users, columns_of
from divspa.augmentation.candidates import Gathered, gathered
from divspa.augmentation.inputs import read_inputs
from divspa.augmentation.pairs import Draws, sample_pairs, with_candidates
from divspa.augmentation.settings import DivSPA
from divspa.augmentation.ways.registry import WAYS
from divspa.config import Config
from divspa.lake.tables import Lake
from divspa.tuning.rounds import Round

HASHES = 1 << 40
KEPT = ["example_id", "user_features", "history", "item_index", "weight"]
# A setting draws as another one does where these agree.
Drawn = tuple[tuple[str, ...], float, str]


@dataclass(frozen=True)
class Sample:
    """The pairs of each round, about as many as it asks for, by a hash of the example: the same for every setting."""

    rounds: list[Round]
    pairs: int
    seed: int

    def round(self) -> Column:
        """The round of an example_id; len(rounds) for one that is left out."""
        place = F.pmod(F.xxhash64("example_id", F.lit(self.seed), F.lit("tuning")), F.lit(HASHES))
        ends = accumulate(each.pairs for each in self.rounds)
        return sum(((place >= int(end / self.pairs * HASHES)).cast("int") for end in ends), F.lit(0))


@dataclass(frozen=True)
class Pairs:
    """Drawn positives of one setting and round: data files, as URLs, their rows, and the mean weight of these."""

    files: list[str]
    rows: int
    mean_weight: float | None


def drawn_as(settings: DivSPA) -> Drawn:
    """What the drawn positives of a setting depend on, among all that are tried."""
    return settings.ways, settings.popularity_discount, settings.scored_by


def drawn_positives(
    lake: Lake, config: Config, ds: date, settings: Mapping[int, DivSPA], sample: Sample, folder: str
) -> dict[int, dict[int, Pairs]]:
    """For every trial the drawn positives of each round, written below a folder.

    Candidates are gathered once, of all ways that any setting names; settings that draw alike share what is drawn.
    """
    drawings = list(dict.fromkeys(map(drawn_as, settings.values())))
    one_of = [next(each for each in settings.values() if drawn_as(each) == drawing) for drawing in drawings]
    ways = {name: way for name, way in WAYS.items() if any(name in each.ways for each in one_of)}
    inputs = read_inputs(lake, config, ds, ways)
    every = Draws(one_of[0], numbers_of(ways), config.seed, ds.toordinal())
    tasks = max(config.spark.tasks, math.ceil(sample.pairs / PAIRS_PER_TASK))
    with gathered(inputs, ways, config.divspa, tasks) as candidates:
        found = written(lake.spark, draw_positives(inputs.pairs, candidates, every, one_of, sample), folder)
    return {
        trial: {number: found[drawings.index(drawn_as(each)), number] for number in range(len(sample.rounds))}
        for trial, each in settings.items()
    }


def draw_positives(
    pairs: DataFrame, candidates: Gathered, every: Draws, settings: list[DivSPA], sample: Sample
) -> DataFrame:
    """One row a sampled pair and way of drawing: what a training reads, `drawing` (its place) and `round`.

    `every` has all ways that were gathered.
    """
    catalogue = candidates.catalogue
    each = [replace(every, settings=one, ways=numbers_of(one.ways)) for one in settings]

    def draw(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for rows, found in with_candidates(batches, catalogue.value, every):
            for place, draws in enumerate(each):
                sampled = sample_pairs(found, catalogue.value, draws, 0)
                added = [list_column(sampled.items_NS), list_column(sampled.weights_NS)]
                columns = [*(rows[name] for name in KEPT), *added, pa.array(np.full(rows.num_rows, place, np.int32))]
                yield pa.RecordBatch.from_arrays(columns, names)

    names = [*KEPT, "sampled_item_indices", "sampled_weights", "drawing"]
    schema = columns_of(pairs.select(KEPT))
    schema += ", sampled_item_indices array<int>, sampled_weights array<float>, drawing int"
    chosen = pairs.where(sample.round() < len(sample.rounds)).select("user_key", *KEPT)
    return after_their_users(chosen, candidates).mapInArrow(draw, schema).withColumn("round", sample.round())


def numbers_of(ways: Iterable[str]) -> dict[str, int]:
    """The ways' own numbers, in the registry's order."""
    return {name: way.number for name, way in WAYS.items() if name in ways}


def written(spark: SparkSession, positives: DataFrame, folder: str) -> dict[tuple[int, int], Pairs]:
    """Write the drawn positives as Parquet, and say where those of each drawing and round lie."""
    positives.write.mode("overwrite").partitionBy("drawing", "round").parquet(folder)
    counted = spark.read.parquet(folder).groupBy("drawing", "round").agg(F.count("*"), F.avg("weight")).collect()
    return {
        (drawing, number): Pairs(_files(spark, f"{folder}/drawing={drawing}/round={number}"), rows, mean)
        for drawing, number, rows, mean in counted
    }


def _files(spark: SparkSession, folder: str) -> list[str]:
    return sorted(unquote(url) for url in spark.read.parquet(folder).inputFiles())
