"""Items that nobody has clicked yet are in the catalogue, placed by their fields: `features.item_min_count: 0`."""

from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
from pyspark.sql import SparkSession

from divspa.augmentation.augment import augment
from divspa.config import Config
from divspa.evaluation.evaluate import evaluate
from divspa.experiments.new_items import PLACES, read_events
from divspa.features.build import build_features
from divspa.lake.tables import Lake
from divspa.linear.train import train_linear
from divspa.serving import Recall
from divspa.serving.export import export_recall
from divspa.training.stages import train_base, train_divspa

DAY = date(2024, 1, 14)
KINDS, OLD, NEW = 3, 30, 6
CUTOFF_DAY = 12


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Users who click items of their kind; in the last two days half of the clicks are on items of it that are new."""
    rng, folder = np.random.default_rng(2), tmp_path_factory.mktemp("log")
    users, minutes = rng.integers(0, 120, 3000), rng.integers(0, 14 * 24 * 60, 3000)
    new = (minutes >= CUTOFF_DAY * 24 * 60) & (rng.random(3000) < 0.5)
    numbers = np.where(new, rng.integers(0, NEW - 1, 3000), rng.integers(0, OLD, 3000))
    ids = [f"{'new' if late else 'old'} {user % KINDS} {n}" for user, late, n in zip(users, new, numbers, strict=True)]
    times = pd.Timestamp(datetime(2024, 1, 1, tzinfo=UTC)) + pd.to_timedelta(minutes, "min")
    clicks = pd.DataFrame({"user": users, "item": ids, "time": times})
    clicks.to_parquet(folder / "clicks.parquet", coerce_timestamps="us", allow_truncated_timestamps=True)
    # The last new item of each kind is never clicked at all.
    items = [(age, kind, n) for age, of in (("old", OLD), ("new", NEW)) for kind in range(KINDS) for n in range(of)]
    table = pd.DataFrame({"id": [f"{age} {kind} {n}" for age, kind, n in items], "kind": [f"k{it[1]}" for it in items]})
    table["code"] = table["id"]  # without it two items that nobody clicked would be the same to a model
    table.to_parquet(folder / "items.parquet")
    return folder


def config(log: Path, item_min_count: int, items_per_user: int = 40) -> Config:
    clicks = {"path": str(log / "clicks.parquet"), "user": "user", "item": "item", "time": "time"}
    return Config.model_validate(
        {
            "clicks": clicks,
            "items": {
                "path": str(log / "items.parquet"),
                "id": "id",
                "fields": ["kind", {"name": "code", "hash_buckets": 1000}],
            },
            "features": {"item_min_count": item_min_count},
            "split": {"by": "time", "at": f"2024-01-{CUTOFF_DAY + 1}T00:00:00Z", "validation_events": 100},
            "training": {"epochs": 4, "negatives": 20, "learning_rate": 0.01, "hidden_ids": 0.3},
            "linear": {"regularisations": [20.0], "max_dense_items": 50},
            "divspa": {"top_k": 5, "gates": {"filled": 0, "way_filled": 0}},
            "evaluation": {"ks": [20], "diversity_ks": [20]},
            "publishing": {"channels": ["divspa"]},
            "recall": {"items_per_user": items_per_user},
            "spark": {"partitions": 2},
        }
    )


def day(spark: SparkSession, root: Path, settings: Config) -> Lake:
    lake = Lake(spark, str(root / "lake"))
    for stage in (build_features, train_base, train_linear, augment, train_divspa, evaluate, export_recall):
        stage(lake, settings, DAY)
    return lake


def table(lake: Lake, name: str) -> pl.DataFrame:
    return pl.read_delta(f"{lake.root}/{name}").filter(pl.col("ds") == DAY)


def hits(lake: Lake, part: str) -> float:
    of_part = (pl.col("slice") == part) & (pl.col("metric") == "hr@20") & (pl.col("model") == "divspa")
    return table(lake, "metrics").filter(of_part)["value"].item()


def test_items_without_clicks_are_ranked_recommended_and_served_and_added_to_nothing(
    spark: SparkSession, log: Path, tmp_path: Path
) -> None:
    lake = day(spark, tmp_path, config(log, 0))
    catalogue = table(lake, "item_features")
    unclicked = set(catalogue.filter(pl.col("train_clicks") == 0)["item_id"])
    assert unclicked == {f"new {kind} {n}" for kind in range(KINDS) for n in range(NEW)}
    assert len(catalogue) == KINDS * (OLD + NEW) and catalogue["item_index"].n_unique() == len(catalogue)
    assert not unclicked & set(table(lake, "augmented_positives")["sampled_item_ids"].explode())
    # By chance 20 of 108 items: of the kind are 6 new ones, and those that the user has yet to click.
    assert hits(lake, "cold") > 0.7
    recall = Recall.load(f"{lake.root}/serving/ds={DAY}")
    for kind in range(KINDS):
        found = recall.candidates({}, [f"old {kind} {n}" for n in range(5)], 200).item_ids
        # Also those that nobody ever clicks.
        first, *others = (found.index(f"new {(kind + turn) % KINDS} {NEW - 1}") for turn in range(KINDS))
        assert first < min(others)
    lists = table(lake, "recall_u2i")["item_ids"].explode()
    assert unclicked <= set(lists)
    places_for_new_items_are_counted_as_lists_have_them(lake, config(log, 0, items_per_user=12))


def places_for_new_items_are_counted_as_lists_have_them(lake: Lake, settings: Config) -> None:
    events, k = read_events(lake, settings, DAY, "divspa"), settings.recall.items_per_user
    of_model = pl.col("model") == "divspa"
    users = table(lake, "user_embeddings").filter(of_model & (pl.col("as_of") == "cutoff"))
    clicked = table(lake, "user_features").filter(pl.col("as_of") == "cutoff").select("user_key", "clicked")
    items = table(lake, "item_embeddings").filter(of_model).join(table(lake, "item_features"), "item_index")
    vectors_ND, few = np.array(items["vector"].to_list()), items["train_clicks"] < settings.recall.new_clicks
    new = set(items.filter(few)["item_index"])
    asked = table(lake, "event_ranks").filter(of_model)["user_key", "item_index"].join(users, "user_key")
    found: dict[int, list[bool]] = {place: [] for place in range(3)}
    for row in asked.join(clicked, "user_key").iter_rows(named=True):
        order = items["item_index"].gather(np.argsort(-vectors_ND @ np.array(row["vector"]), kind="stable"))
        best = [item for item in order if item not in row["clicked"]]
        for place, places in enumerate(PLACES[:3]):
            first = best[: max(0, k - places)]
            of_new = [item for item in best if item in new and item not in first][:places]
            found[place].append(row["item_index"] in [*first, *of_new])
    for place, hits in found.items():
        assert events.hits(k, place).sum() == pytest.approx(sum(hits), abs=5), "but for ties"
    assert sum(found[1]) != sum(found[0])


def test_by_default_they_are_in_no_list(spark: SparkSession, log: Path, tmp_path: Path) -> None:
    lake = Lake(spark, str(tmp_path / "lake"))
    build_features(lake, config(log, 1), DAY)
    catalogue = table(lake, "item_features")
    assert len(catalogue) == KINDS * OLD and catalogue["train_clicks"].min() > 0
