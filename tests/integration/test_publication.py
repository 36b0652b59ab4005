"""What is published of a small day: not a poisoned augmentation, and lists that say which model found each item."""

import re
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from pyspark.sql import SparkSession

from divspa.augmentation.augment import augment
from divspa.config import Config, load_config
from divspa.errors import GateError
from divspa.evaluation.evaluate import evaluate, report_path
from divspa.features.build import build_features
from divspa.lake.tables import Lake
from divspa.linear.train import train_linear
from divspa.publishing.channels import Channel
from divspa.publishing.fusion import FIRST, LEAD
from divspa.schemas import CHANNELS, ITEM_FEATURES, RECALL_U2I
from divspa.serving.export import export_recall
from divspa.serving.user_lists import user_lists
from divspa.simulation.generator import generate
from divspa.simulation.settings import GeneratorSettings
from divspa.training.stages import train_base, train_divspa

LOG = GeneratorSettings(users=300, items=200, clicks=6000, days=14, fields=7)
DAY = LOG.start + timedelta(days=LOG.days - 1)
POISON = ["divspa.ways=[random]", "divspa.sampling=uniform", "divspa.beta=50", "divspa.gates.way_filled=0"]
SMALL = ["spark.partitions=2", "training.epochs=4", "training.negatives=100", "training.batch_size=256"]


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("log") / "log"
    generate(LOG, folder)
    return folder


@pytest.fixture(scope="module")
def day(spark: SparkSession, log: Path, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """A day up to the second training, which has learned from items drawn at random and from little else."""
    lake = Lake(spark, str(tmp_path_factory.mktemp("published") / "lake"))
    for stage in (build_features, train_base, train_linear, augment, train_divspa):
        stage(lake, config(log, *POISON), DAY)
    return lake


def config(log: Path, *settings: str) -> Config:
    return load_config(log / "divspa.yaml", [*SMALL, *settings])


def table(lake: Lake, name: str, ds: date = DAY) -> pl.DataFrame:
    return pl.scan_delta(f"{lake.root}/{name}").filter(pl.col("ds") == ds).collect()


def test_a_poisoned_augmentation_is_not_published(day: Lake, log: Path) -> None:
    own = config(log, "publishing.channels=[youtube_dnn,divspa]", "publishing.fused=false")
    evaluate(day, own, DAY)
    channels = table(day, CHANNELS.name).rows_by_key("channel", named=True, unique=True)
    assert channels["divspa"]["valid"] < channels["youtube_dnn"]["valid"]
    assert [name for name, row in channels.items() if row["published"]] == ["youtube_dnn"]
    assert channels["youtube_dnn"]["reason"] == "best on held-out clicks"
    export_recall(day, own, DAY)
    lists = table(day, RECALL_U2I.name)
    assert set(lists["channel"]) == {"youtube_dnn"} == set(lists["sources"].explode())
    base = table(day, "training_runs").filter(pl.col("model") == "youtube_dnn")["model_version"][0]
    assert set(lists["model_version"]) == {base}


def test_what_is_best_of_all_is_published_and_the_report_says_so(day: Lake, log: Path) -> None:
    called = "report.item_name=concat(category, ' of ', publisher)", "report.item_picture=concat('https://p/', item_id)"
    evaluate(day, config(log, *called), DAY)
    channels = table(day, CHANNELS.name)
    assert set(channels["channel"]) == {
        *("youtube_dnn", "divspa", "linear"),
        *("youtube_dnn+divspa", "youtube_dnn+linear", "divspa+linear"),
    }
    (published,) = channels.filter("published").to_dicts()
    best = channels.sort("valid", descending=True).row(0, named=True)
    assert published["channel"] == best["channel"] or "but is worse" in published["reason"]
    page = Path(report_path(day, DAY)).read_text()
    assert f"<b>{published['channel']}</b>" in page
    items = pl.read_parquet(log / "items.parquet")
    shown = re.findall(r'<img src="https://p/(i\d+)"[^>]*><span title="(i\d+)">(c\d+ of p\d+)</span>', page)
    assert len(shown) > 3 * 20 and all(of_picture == title for of_picture, title, _ in shown)
    named = {row["item_id"]: f"{row['category']} of {row['publisher']}" for row in items.rows(named=True)}
    assert all(named[key] == name for key, _, name in shown)
    assert "added by random" in page
    measured = table(day, "metrics").filter((pl.col("slice") == "all") & (pl.col("metric") == published["metric"]))
    assert published["test"] == pytest.approx(dict(measured.select("model", "value").rows())[published["channel"]])
    export_recall(day, config(log), DAY)
    assert set(table(day, RECALL_U2I.name)["channel"]) == {published["channel"]}


def test_fused_lists_are_those_of_the_parts_by_reciprocal_rank(day: Lake) -> None:
    items = day.read_day(ITEM_FEATURES, DAY)
    names, weights = ("youtube_dnn", "linear"), (0.25, 0.75)
    parts = [user_lists(day, DAY, Channel((name,)), items, 30, 30)[0] for name in names]
    parts = [dict(part.select("id", "ids").collect()) for part in parts]
    lists, recall = user_lists(day, DAY, Channel(names, weights), items, 20, 30)
    assert recall == 1
    rows = lists.collect()
    assert {row["id"] for row in rows} == set(parts[0]) == set(parts[1])
    for row in rows:
        gained, found = {}, {}
        for name, weight, part in zip(names, (LEAD * weights[0], weights[1]), parts, strict=True):
            for place, item in enumerate(part[row["id"]]):
                gained[item] = gained.get(item, 0) + weight / (FIRST + place)
                found.setdefault(item, []).append(name)
        best = sorted(gained, key=lambda item: (-np.float32(gained[item]), item))[:20]
        assert row["ids"] == best
        assert row["sources"] == ["+".join(found[item]) for item in best]
        assert row["scores"] == pytest.approx([gained[item] for item in best], rel=1e-5)


def test_a_day_that_falls_too_far_is_held_back(day: Lake, log: Path) -> None:
    before = ("linear", ["linear"], [1.0], "v", "ndcg@100", 0.9, 10, "hr@50", 0.999, True, "best")
    day.replace_day_with(CHANNELS, [before], DAY - timedelta(days=1))
    with pytest.raises(GateError, match=r"worse than those published last.*publishing\.max_drop.*after 0\.9990"):
        evaluate(day, config(log), DAY)
    assert not table(day, CHANNELS.name)["published"].any()
    with pytest.raises(GateError, match=r"No channel of .* is published.*held back: hr@50 of"):
        export_recall(day, config(log), DAY)
    evaluate(day, config(log, "publishing.max_drop=0"), DAY)
    assert table(day, CHANNELS.name)["published"].sum() == 1
