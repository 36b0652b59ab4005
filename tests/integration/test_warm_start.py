"""Three days of training, each carrying over the weights of the day before while the vocabulary grows."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from pyspark.sql import functions as F

from divspa.config import Config
from divspa.features.build import build_features
from divspa.lake.tables import Lake
from divspa.models.checkpoint import Checkpoint, checkpoint_folder
from divspa.schemas import EXAMPLES, FEATURE_GATES, ITEM_EMBEDDINGS, TRAINING_RUNS, VOCABULARY
from divspa.training.stages import train_base

FIRST = date(2024, 1, 5)


def test_a_warm_start_keeps_known_rows_while_the_vocabulary_grows(lake: Lake, tmp_path: Path) -> None:
    config = configuration(tmp_path)
    tables, first_time = [], None
    for day in (FIRST + timedelta(days=n) for n in range(3)):
        build_features(lake, config, day)
        train_base(lake, config, day)
        if first_time is None:
            first_time = embeddings(lake)
            train_base(lake, config, day)
        model = Checkpoint.load(checkpoint_folder(lake.root, day, "youtube_dnn")).restore()
        tables.append(model.items.weight.detach())
    assert len(tables[0]) < len(tables[1]) < len(tables[2])
    for before, after in pairwise(tables):
        assert torch.allclose(after[: len(before)], before, atol=1e-4)
        assert not torch.allclose(after[len(before) :], torch.zeros(()), atol=1e-3)
    assert lake.read(TRAINING_RUNS).count() == 3
    assert embeddings(lake) == first_time, "the same day trained again"


def test_what_nobody_clicked_within_the_window_leaves_and_its_place_is_anew(lake: Lake, tmp_path: Path) -> None:
    gates = {"compare_from": 1} | dict.fromkeys(("max_drift", "max_user_share", "max_item_share"))
    config = configuration(tmp_path, features={"window_days": 3, "gates": gates})
    days, places, tables = [FIRST + timedelta(days=n) for n in range(3)], [], []
    for day in days:
        build_features(lake, config, day)
        train_base(lake, config.model_copy(update={"seed": day.day}), day)  # so that fresh rows are new ones
        model = Checkpoint.load(checkpoint_folder(lake.root, day, "youtube_dnn")).restore()
        tables.append(model.items.weight.detach())
        places.append(item_places(lake, day))
        begin = pd.Timestamp(day - timedelta(days=2), tz=UTC)
        rows = lake.read_day(EXAMPLES, day).select("split", "item_id", F.unix_micros("clicked_at")).toPandas()
        assert pd.to_datetime(rows.iloc[:, 2].min(), unit="us", utc=True) >= begin
        assert {*places[-1]} == {*rows["item_id"][rows["split"] == "train"]}, "what a lake without a past would hold"
    for (before, own), (yesterday, today) in zip(pairwise(places), pairwise(tables), strict=True):
        stay = before.keys() & own
        assert {value: before[value] for value in stay} == {value: own[value] for value in stay}
        kept, reused = ([own[value] for value in values] for values in (stay, own.keys() - before))
        reused = [index for index in reused if index < len(yesterday)]
        assert reused and torch.allclose(today[kept], yesterday[kept], atol=1e-4)
        assert (today[reused] - yesterday[reused]).abs().amax(1).min() > 1e-3, "a new item begins as another one"
    for day, before, own in zip(days[1:], places, places[1:], strict=False):
        found = dict(lake.read_day(FEATURE_GATES, day).where("field = 'item_id'").select("figure", "value").collect())
        assert found["vocabulary_size"] == len(own)
        assert found["vocabulary_growth"] == pytest.approx(len(own) / len(before) - 1)
        assert found["drift"] > 0.5, "what has left is part of it"
    assert max(places[-1].values()) < 2 + max(map(len, places)), "no place is added while one is free"
    assert {day for (day,) in lake.read_day(VOCABULARY, days[-1]).select("since").distinct().collect()} == {*days}


def item_places(lake: Lake, day: date) -> dict[str, int]:
    """Index by item."""
    rows = lake.read_day(VOCABULARY, day).where("field = 'item_id'").collect()
    return {row["value"]: row["index"] for row in rows}


def configuration(folder: Path, **changes: Any) -> Config:
    """A log in which new items come and old ones go, each day."""
    rng = np.random.default_rng(1)
    clicks = pd.DataFrame({"user": rng.integers(0, 40, 600), "minute": rng.integers(0, 7 * 24 * 60, 600)})
    clicks["item"] = (clicks["minute"] // (24 * 60) * 5 + rng.integers(0, 15, 600)).map("item {}".format)
    clicks["time"] = pd.Timestamp(datetime(2024, 1, 1, tzinfo=UTC)) + pd.to_timedelta(clicks.pop("minute"), "min")
    clicks.to_parquet(folder / "clicks.parquet", coerce_timestamps="us", allow_truncated_timestamps=True)
    return Config.model_validate(
        {
            "clicks": {"path": str(folder / "clicks.parquet"), "user": "user", "item": "item", "time": "time"},
            "split": {"validation_events": 0},
            # So small a rate moves no value by more than 1e-6 a step: what was carried over can be recognised.
            "training": {"epochs": 1, "start": "previous", "learning_rate": 1e-6, "negatives": 10},
            "spark": {"partitions": 2},
        }
        | changes
    )


def embeddings(lake: Lake) -> list[str]:
    """The item embeddings of the first day."""
    return sorted(map(str, lake.read_day(ITEM_EMBEDDINGS, FIRST).drop("ds").collect()))
