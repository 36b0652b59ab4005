"""Three days of training, each carrying over the weights of the day before while the vocabulary grows."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from divspa.config import Config
from divspa.features.build import build_features
from divspa.lake.tables import Lake
from divspa.models.checkpoint import Checkpoint, checkpoint_folder
from divspa.schemas import ITEM_EMBEDDINGS, TRAINING_RUNS
from divspa.training.stages import train_base

FIRST = date(2024, 1, 5)


def test_a_warm_start_keeps_known_rows_while_the_vocabulary_grows(lake: Lake, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    clicks = pd.DataFrame({"user": rng.integers(0, 40, 600), "minute": rng.integers(0, 7 * 24 * 60, 600)})
    clicks["item"] = (clicks["minute"] // (24 * 60) * 5 + rng.integers(0, 15, 600)).map("item {}".format)
    clicks["time"] = pd.Timestamp(datetime(2024, 1, 1, tzinfo=UTC)) + pd.to_timedelta(clicks.pop("minute"), "min")
    clicks.to_parquet(tmp_path / "clicks.parquet", coerce_timestamps="us", allow_truncated_timestamps=True)
    config = Config.model_validate(
        {
            "clicks": {"path": str(tmp_path / "clicks.parquet"), "user": "user", "item": "item", "time": "time"},
            "split": {"validation_events": 0},
            # So small a rate moves no value by more than 1e-6 a step: what was carried over can be recognised.
            "training": {"epochs": 1, "start": "previous", "learning_rate": 1e-6, "negatives": 10},
            "spark": {"partitions": 2},
        }
    )
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


def embeddings(lake: Lake) -> list[str]:
    """The item embeddings of the first day."""
    return sorted(map(str, lake.read_day(ITEM_EMBEDDINGS, FIRST).drop("ds").collect()))
