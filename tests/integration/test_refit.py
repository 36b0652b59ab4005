"""The newest clicks reach what is served: a day made again without a test period, on real Spark and Delta."""

from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
from pyspark.sql import SparkSession

from divspa.augmentation.augment import augment
from divspa.config import Config
from divspa.errors import MissingTableError
from divspa.evaluation.evaluate import evaluate
from divspa.features.build import build_features
from divspa.lake.forget import forget
from divspa.lake.published import published
from divspa.lake.tables import Lake
from divspa.linear.train import train_linear
from divspa.models.checkpoint import Checkpoint
from divspa.refit import refit
from divspa.serving import Recall
from divspa.serving.export import export_recall
from divspa.serving.publish import publish
from divspa.training.stages import train_base, train_divspa

DAY = date(2024, 1, 14)
NEW = {f"new {number}" for number in range(5)}
REFIT = f"refit/{DAY}/"


def config(log: str, *, refit: bool) -> Config:
    clicks = {"path": log, "user": "user", "item": "item", "time": "time", "weight": "worth", "null_values": []}
    return Config.model_validate(
        {
            "clicks": clicks,
            "split": {"validation_events": 200, "test_share": 0.2},
            "training": {"epochs": 3, "negatives": 20, "learning_rate": 0.01},
            "linear": {"regularisations": [20.0, 200.0], "max_dense_items": 50},
            "divspa": {"ways": ["u2i", "linear_i2i"], "top_k": 5, "gates": {"filled": 0, "way_filled": 0}},
            "publishing": {"channels": ["divspa"], "refit": refit, "refit_passes": 2},
            "recall": {"items_per_user": 50},
            "spark": {"partitions": 2},
        }
    )


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Users of three kinds, each with items of its own; those of one kind turn to new items in the last two days."""
    rng = np.random.default_rng(1)
    users, minutes = rng.integers(0, 90, 2400), rng.integers(0, 14 * 24 * 60, 2400)
    items = [f"old {user % 3 * 30 + item}" for user, item in zip(users, rng.integers(0, 40, 2400), strict=True)]
    late = (users % 3 == 0) & (minutes > 12 * 24 * 60)
    fresh = rng.integers(0, 5, 2400)
    items = [f"new {fresh[n]}" if late[n] else old for n, old in enumerate(items)]
    times = pd.Timestamp(datetime(2024, 1, 1, tzinfo=UTC)) + pd.to_timedelta(minutes, "min")
    path = str(tmp_path_factory.mktemp("log") / "clicks.parquet")
    names = ["None" if user == 4 else str(user) for user in users]  # which this log does not take for a null
    clicks = pd.DataFrame({"user": names, "item": items, "time": times, "worth": 1.0 + users % 2})
    clicks.to_parquet(path, coerce_timestamps="us", allow_truncated_timestamps=True)
    return path


@pytest.fixture(scope="module")
def day(spark: SparkSession, log: str, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    lake = Lake(spark, str(tmp_path_factory.mktemp("refit") / "lake"))
    for stage in (build_features, train_base, train_linear, augment, train_divspa, evaluate):
        stage(lake, config(log, refit=False), DAY)
    return lake


def table(lake: Lake, name: str, inner: str = "") -> pl.DataFrame:
    return pl.scan_delta(f"{lake.root}/{inner}{name}").filter(pl.col("ds") == DAY).collect()


def offered(lake: Lake) -> tuple[set[str], set[str]]:
    """The items in the lists of users, and those that the bundle gives to a user who clicked two new ones."""
    lists = set(table(lake, "recall_u2i")["item_ids"].explode())
    bundle = Recall.load(f"{lake.root}/serving/ds={DAY}")
    return lists, set(bundle.candidates(clicks=["old 2", "new 1", "new 2"], k=30).item_ids)


def models_of(lake: Lake, inner: str = "") -> dict[str, str]:
    """The version of each model that was trained for the day."""
    return dict(table(lake, "training_runs", inner).select("model", "model_version").iter_rows())


def named(lake: Lake, settings: Config) -> dict[str, str]:
    """The models that `published` names, the lists' own among them, each with its checkpoint."""
    publish(lake, settings, DAY)
    version = published(lake)
    assert version is not None
    assert set(table(lake, "recall_u2i")["model_version"]) == {version.models["divspa"]}
    held = {model: Checkpoint.load(f"{lake.root}/{path}").version for model, path in version.checkpoints.items()}
    assert held == {model: version.models[model] for model in ("youtube_dnn", "divspa")}
    return dict(version.models)


def test_what_is_served_knows_the_newest_items_only_where_it_was_trained_again(day: Lake, log: str) -> None:
    without, settings = config(log, refit=False), config(log, refit=True)
    refit(day, without, DAY)
    assert not Path(f"{day.root}/refit").exists()
    export_recall(day, without, DAY)
    lists, served = offered(day)
    assert not NEW & lists and not NEW & served
    assert named(day, without) == models_of(day)
    with pytest.raises(MissingTableError):
        export_recall(day, settings, DAY)
    beside = Path(f"{day.root}/refit/2024-01-13/examples")
    beside.mkdir(parents=True)
    refit(day, settings, DAY)
    assert beside.exists(), "another day, which may run at the same time"
    export_recall(day, settings, DAY)
    lists, served = offered(day)
    assert lists >= NEW and NEW & served, "served to those whose kind clicked them"
    assert named(day, settings) == models_of(day, REFIT)
    assert models_of(day)["divspa"] != models_of(day, REFIT)["divspa"]


def test_every_click_is_learned_from_and_nothing_moves_its_place(day: Lake, log: str) -> None:
    examples, clicks = table(day, "examples", REFIT), table(day, "clicks")
    assert set(examples["split"]) == {"train"}
    assert examples.height == clicks.select("user_id", "item_id").unique().height, "the first click on each item"
    assert examples["weight"].unique().sort().to_list() == [1.0, 2.0]
    before, after = (table(day, "vocabulary", inner).select("field", "value", "index") for inner in ("", REFIT))
    assert before.join(after, ["field", "value", "index"], "anti").is_empty() and after.height > before.height
    runs = table(day, "training_runs", REFIT).rows_by_key("model", named=True, unique=True)
    evaluated = table(day, "training_runs").rows_by_key("model", named=True, unique=True)
    base, base_before = runs["youtube_dnn"]["losses"], evaluated["youtube_dnn"]["losses"]
    assert len(base) == 2 and base[0] < base_before[0], "from the weights that were evaluated"
    assert len(runs["divspa"]["losses"]) == evaluated["divspa"]["best_epoch"] + 1
    assert len(runs["linear"]["scores"]) <= 1, "its regularisation was chosen already"


def test_again_gives_the_same_and_forgetting_leaves_the_models_alone(day: Lake, log: str) -> None:
    versions = models_of(day, REFIT)
    refit(day, config(log, refit=True), DAY)
    assert models_of(day, REFIT) == versions
    settings = config(log, refit=True).model_copy(update={"lake": day.root})
    done = forget(day, settings, "3", vacuum_now=False)
    learned = [*models_of(day).items(), *versions.items()]
    assert sorted(done.models) == sorted(f"{DAY} {model} {version}" for model, version in learned)
    left = {entry.name for entry in Path(f"{day.root}/{REFIT}").iterdir()}
    of_items = {"item_embeddings", "item_features", "item_neighbours"}
    assert left == of_items | {"checkpoints", "training_runs", "feature_gates", "augmentation_summary"}
