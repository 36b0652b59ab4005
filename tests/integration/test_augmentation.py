"""The stage `augment` on a real Spark and Delta: partitions, gates, allowed items, provenance, a worker that dies."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from pyspark import TaskContext
from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from toy_way import OFFERED, TOY

from divspa.augmentation import augment as stage
from divspa.augmentation.augment import augment
from divspa.augmentation.inputs import READ, one_model_version
from divspa.augmentation.ways.registry import WAYS
from divspa.bench.positives import Positives
from divspa.bench.vectors import Embeddings
from divspa.config import Config
from divspa.errors import ConfigError, ContractError, GateError
from divspa.lake.tables import Lake
from divspa.schemas import AUGMENTED_POSITIVES, EXAMPLES, ITEM_EMBEDDINGS

DAY = date(2024, 6, 30)
CLICKS = {"path": "-", "user": "-", "item": "-", "time": "-"}
WORLD = Positives(pairs=1500, users=150, items=200, embeddings=Embeddings(8, 5))


def config(**settings: Any) -> Config:
    return Config.model_validate({"clicks": CLICKS, "spark": {"partitions": 2}, "divspa": {"draws": 2}, **settings})


@pytest.fixture(scope="module")
def world(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    lake = Lake(spark, str(tmp_path_factory.mktemp("augmentation") / "lake"))
    WORLD.write(lake, DAY, config().model.name)
    augment(lake, config(), DAY)
    return lake


def table(lake: Lake, name: str) -> pl.DataFrame:
    return pl.scan_delta(f"{lake.root}/{name}").collect()


def rows(lake: Lake) -> list[tuple]:
    return sorted(table(lake, "augmented_positives").rows(), key=str)


def test_the_table_does_not_depend_on_partitions_or_batches(world: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    before = rows(world)
    assert len(before) == 2 * world.read_day(EXAMPLES, DAY).count()
    monkeypatch.setattr(stage, "PAIRS_PER_TASK", 300)
    world.spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", "70")
    try:
        augment(world, config(), DAY)
    finally:
        world.spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", "10000")
    assert rows(world) == before


def test_the_tables_say_what_they_were_made_of_and_how_well(world: Lake) -> None:
    augmented = table(world, "augmented_positives")
    (versions,) = augmented["source_versions"].unique().to_list()
    assert json.loads(versions) == {table.name: 0 for table in READ}
    assert augmented["settings_hash"].n_unique() == 1 and augmented["model_version"].unique().to_list() == ["bench"]
    summary = {row["way"]: row for row in table(world, "augmentation_summary").to_dicts()}
    assert list(summary) and set(summary) == {"u2i", "i2i", "u2u2i", "all"}
    first = augmented.filter(pl.col("draw") == 0)
    added = first.explode("sampled_item_indices").filter(pl.col("sampled_item_indices") > 0)
    assert summary["all"]["sampled"] == added.height
    assert summary["all"]["distinct_items"] == added["sampled_item_indices"].n_unique()
    assert summary["all"]["distinct_items_clicked"] == first["item_index"].n_unique()
    for way in ("u2i", "i2i", "u2u2i"):
        assert summary[way]["search_plan"] == "broadcast" and summary[way]["search_recall"] == 1.0
        assert summary[way]["candidates_per_pair"] <= 20 and 0 < summary[way]["new"] <= 1


def test_a_worker_that_dies_once_leaves_no_row_twice(world: Lake, tmp_path: Path) -> None:
    """Retries need a local master that allows them, hence a process of its own."""
    copy = Lake(world.spark, str(shutil.copytree(world.root, tmp_path / "lake")))
    command = [sys.executable, str(Path(__file__)), copy.root]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.stdout.splitlines()[-1:] == ["1 death"], done.stderr[-3000:]
    assert copy.version(AUGMENTED_POSITIVES) > world.version(AUGMENTED_POSITIVES)
    assert rows(copy) == rows(world)


def augment_with_a_death(root: str) -> None:
    """Augment while the process of one task dies after it has given its first batch."""
    from divspa.lake.session import spark_session
    from divspa.lake.settings import Spark

    spark = spark_session(Spark(master="local[2,3]", driver_memory="1g", partitions=2))
    mark, alive = f"{root}/died", stage.augment_batches

    def dying(*arguments: Any) -> Iterator[pa.RecordBatch]:
        for batch in alive(*arguments):
            yield batch
            context = TaskContext.get()
            if context is not None and context.attemptNumber() == 0 and not Path(mark).exists():
                Path(mark).touch()
                os._exit(1)

    stage.augment_batches = dying
    augment(Lake(spark, root), config(), DAY)
    print(f"{int(Path(mark).exists())} death")


def test_a_failing_gate_leaves_the_published_table_alone(world: Lake) -> None:
    version = world.version(AUGMENTED_POSITIVES)
    with pytest.raises(GateError, match=r"all added \d.* a pair where 9 is the least"):
        augment(world, config(divspa={"gates": {"filled": 1.0}}), DAY)
    assert world.version(AUGMENTED_POSITIVES) == version


def test_only_allowed_items_are_added(world: Lake, tmp_path: Path) -> None:
    stock = pl.DataFrame({"id": [f"item-{i}" for i in range(2, 202)], "stock": [i % 3 for i in range(2, 202)]})
    stock.write_parquet(tmp_path / "stock.parquet")
    items = {"path": str(tmp_path / "stock.parquet"), "id": "id"}
    augment(world, config(items=items, divspa={"allowed": "stock > 1"}), DAY)
    added = table(world, "augmented_positives")["sampled_item_indices"].explode().unique().to_list()
    assert {i % 3 for i in added if i} == {2}
    with pytest.raises(ConfigError, match=r"lacks the column stok of divspa\.allowed"):
        augment(world, config(items=items, divspa={"allowed": "stok > 1"}), DAY)
    with pytest.raises(ConfigError, match=r"No item meets the condition divspa\.allowed"):
        augment(world, config(items=items, divspa={"allowed": "stock > 7"}), DAY)
    with pytest.raises(ConfigError, match="needs attributes of items"):
        augment(world, config(divspa={"allowed": "stock > 1"}), DAY)


def test_a_way_is_one_file_and_one_line(world: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(WAYS, "toy", TOY)
    augment(world, config(divspa={"ways": ["toy", "i2i"], "m": 4}), DAY)
    augmented = table(world, "augmented_positives")
    assert augmented["sampled_weights"].list.len().unique().to_list() == [8]
    added = augmented.select(
        "user_id", ids=pl.col("sampled_item_indices"), ways=pl.col("sampled_sources"), s=pl.col("sampled_scores")
    ).explode("ids", "ways", "s")
    assert set(added["ways"].unique()) == {"i2i", "toy", "i2i+toy", ""}
    of_toy = added.filter(pl.col("ways").str.contains("toy"))
    assert set(of_toy["ids"].unique()) == set(OFFERED)
    clicked = table(world, "user_features").select("user_id", pl.col("clicked").cast(pl.List(pl.Int32)))
    owned = of_toy.join(clicked, "user_id").filter(pl.col("clicked").list.contains(pl.col("ids")))
    assert owned.is_empty() and (added["s"].abs() <= 1.001).all(), "the double check is the model's own score"
    summary = {row["way"]: row for row in table(world, "augmentation_summary").to_dicts()}
    assert set(summary) == {"i2i", "toy", "all"}
    assert 3.9 < summary["toy"]["sampled_per_pair"] <= 4 and 0 < summary["toy"]["new"] < 1
    assert summary["toy"]["completed"] is None and summary["toy"]["search_plan"] is None
    first = of_toy.height / augmented["draw"].n_unique()
    assert abs(summary["toy"]["sampled"] - first) < 0.01 * first


def test_an_unknown_way_is_named_with_those_that_exist(world: Lake) -> None:
    with pytest.raises(ConfigError, match=r"unknown way.*u2i, i2i, u2u2i.*Found: u2b"):
        augment(world, config(divspa={"ways": ["u2b"]}), DAY)


def test_embeddings_of_two_models_are_an_error(world: Lake) -> None:
    items = world.read_day(ITEM_EMBEDDINGS, DAY)
    with pytest.raises(ContractError, match=r"different models.*bench and other"):
        one_model_version(items, items.withColumn("model_version", F.lit("other")))


def test_a_repeated_example_is_found_in_the_pass(world: Lake) -> None:
    world.read_day(EXAMPLES, DAY).limit(1).write.format("delta").mode("append").save(world.path(EXAMPLES))
    with pytest.raises(ContractError, match="repeat a key"):
        augment(world, config(), DAY)


if __name__ == "__main__":
    augment_with_a_death(sys.argv[1])
