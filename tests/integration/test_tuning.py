"""The stage `tune` on real Spark and Delta, and the stages that take what it chose."""

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from divspa.config import Config
from divspa.errors import MissingTableError, TrainingError
from divspa.features.build import build_features
from divspa.lake.tables import Lake
from divspa.linear.train import train_linear
from divspa.pipeline import STAGES
from divspa.schemas import EXAMPLES, TUNING_TRIALS, USER_FEATURES
from divspa.training.stages import train_base
from divspa.tuning import trials
from divspa.tuning.choice import earlier_choice, with_choice
from divspa.tuning.tune import tune

DAY = date(2024, 1, 14)
RATES = [0.0001, 0.01]
CANDIDATES = [
    {"ways": ["i2i"], "popularity_discount": 0.0},
    {"ways": ["linear_u2i", "linear_i2i"], "scored_by": "both"},
    {"beta": 0.9},
    {"ways": ["u2u2i"], "beta": 0.1},
]


def config(log: str, choose: str = "auto", **tuning) -> Config:
    return Config.model_validate(
        {
            "clicks": {"path": log, "user": "user", "item": "item", "time": "time"},
            "split": {"validation_events": 400},
            "training": {"epochs": 2, "negatives": 20},
            "linear": {"regularisations": [20.0], "max_dense_items": 50},
            "divspa": {"choose": choose, "ways": ["u2i", "u2u2i"], "top_k": 5, "gates": {"filled": 0}},
            "tuning": {"candidates": CANDIDATES, "budget": 2.0, "learning_rates": RATES, **tuning},
            "spark": {"partitions": 2},
        }
    )


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Users of three kinds, each with items of its own."""
    rng = np.random.default_rng(1)
    users, minutes = rng.integers(0, 120, 3000), rng.integers(0, 14 * 24 * 60, 3000)
    items = users % 3 * 30 + rng.integers(0, 60, 3000)
    times = pd.Timestamp(datetime(2024, 1, 1, tzinfo=UTC)) + pd.to_timedelta(minutes, "min")
    path = str(tmp_path_factory.mktemp("log") / "clicks.parquet")
    clicks = pd.DataFrame({"user": users, "item": items, "time": times})
    clicks.to_parquet(path, coerce_timestamps="us", allow_truncated_timestamps=True)
    return path


@pytest.fixture(scope="module")
def world(spark: SparkSession, log: str, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    lake = Lake(spark, str(tmp_path_factory.mktemp("tuning") / "lake"))
    for stage in (build_features, train_base, train_linear, tune):
        stage(lake, config(log), DAY)
    return lake


def tried(lake: Lake) -> list[dict]:
    rows = pl.scan_delta(f"{lake.root}/tuning_trials").filter(pl.col("ds") == DAY).collect()
    return rows.sort("round", "trial").drop("seconds").to_dicts()


def test_fewer_settings_are_tried_on_more_pairs_and_one_is_chosen(world: Lake, log: str) -> None:
    rows = tried(world)
    assert [row["trial"] for row in rows if row["round"] == 0] == [-1, 0, 1, 2, 3, 4]
    last = [row["trial"] for row in rows if row["round"] == 1]
    assert last[0] == -1 and len(last) == 4 and max(row["round"] for row in rows) == 1
    (chosen,) = [row for row in rows if row["chosen"]]
    assert (chosen["round"], chosen["made_on"]) == (1, DAY) and chosen["trial"] >= 0
    by_trial = {(row["round"], row["trial"]): row for row in rows}
    for (number, trial), row in by_trial.items():
        assert row["failure"] is None and len(row["ranks"]) == len(rows[0]["ranks"]) > 20
        hits = sum(rank < 50 for rank in row["ranks"]) / len(row["ranks"])
        assert row["scores"]["hr@50"] == pytest.approx(hits)
        assert row["pairs"] == by_trial[number, -1]["pairs"]
        assert number == 0 or row["pairs"] > by_trial[0, trial]["pairs"]
    assert json.loads(by_trial[0, -1]["settings"])["beta"] == 0 and by_trial[0, -1]["ahead"] == 0
    assert len({tuple(row["ranks"]) for row in rows if row["round"] == 0}) == 6, "no two settings train alike"
    assert not Path(f"{world.root}/tuning/ds={DAY}").exists(), "files of the trials are gone"


def test_the_stages_that_follow_take_what_was_chosen_and_record_it(world: Lake, log: str) -> None:
    settings = with_choice(world, config(log), DAY).divspa
    (chosen,) = [json.loads(row["settings"]) for row in tried(world) if row["chosen"]]
    assert list(settings.ways) == chosen["ways"] and settings.beta == chosen["beta"] and settings.top_k == 5
    for name in ("augment", "train_divspa"):
        STAGES[name](world, config(log), DAY)
    added = pl.read_delta(f"{world.root}/augmented_positives")
    assert {way for ways in added["sampled_sources"].explode().unique() for way in ways.split("+") if way} <= set(
        settings.ways
    )
    assert added["sampled_weights"].list.len().unique().to_list() == [3 * len(settings.ways)]
    runs = pl.read_delta(f"{world.root}/training_runs").to_dicts()
    recorded = {run["model"]: Config.model_validate_json(run["settings"]) for run in runs}
    assert recorded["divspa"].divspa == settings and settings.choose == "auto"
    (rates,) = [run["rates"] for run in runs if run["model"] == "youtube_dnn"]
    scores = {float(rate): score for rate, score in rates.items()}
    assert sorted(scores) == RATES and scores[0.01] > scores[0.0001]
    assert {recorded[model].training.learning_rate for model in ("youtube_dnn", "divspa")} == {0.01}


def test_no_click_of_the_test_period_is_used(world: Lake, log: str) -> None:
    """All that is known of it, poisoned: the same trials, the same ranks, the same choice."""
    before = tried(world)
    poison(world, EXAMPLES, "split", "test", {"item_index": F.lit(2), "history": F.col("history")})
    poison(world, USER_FEATURES, "as_of", "latest", {"clicked": F.array(F.lit(2), F.lit(3))})
    tune(world, config(log), DAY)
    assert tried(world) == before


def poison(lake: Lake, table, column: str, value: str, lies: dict) -> None:
    rows = lake.read_day(table, DAY, **{column: value}).withColumns(lies).localCheckpoint()
    lake.replace_day(table, rows, DAY, **{column: value})


def test_a_choice_is_used_again_while_it_is_young(world: Lake, log: str) -> None:
    made = tried(world)
    day_before, chosen = DAY - timedelta(days=1), next(row for row in made if row["chosen"])
    earlier = world.read_day(TUNING_TRIALS, DAY).withColumn("made_on", F.lit(day_before)).localCheckpoint()
    world.replace_day(TUNING_TRIALS, earlier, day_before)
    found = earlier_choice(world, config(log), DAY)
    assert found is not None and found.made_on == day_before
    assert found.settings.beta == json.loads(chosen["settings"])["beta"]
    assert earlier_choice(world, config(log, days=1), DAY) is None, "too old"
    assert earlier_choice(world, config(log, criterion="hr@5"), DAY) is None, "chosen by another score"
    tune(world, config(log), DAY)
    rows = tried(world)
    if len(rows) == 2:  # the control and the choice alone
        assert [row["made_on"] for row in rows] == [day_before] * 2 and rows[1]["chosen"]
    else:
        assert rows == made, "it no longer held, so all were tried as if there were none"


def test_a_setting_that_cannot_be_trained_is_out(world: Lake, log: str, monkeypatch: pytest.MonkeyPatch) -> None:
    alive = trials.launch

    def failing(spark, job, report):
        if job.divspa.ways == ("i2i",):
            raise TrainingError("The loss is nan")
        return alive(spark, job, report)

    monkeypatch.setattr(trials, "launch", failing)
    tune(world, config(log, days=1), DAY)
    (failed,) = [row for row in tried(world) if row["failure"]]
    assert (failed["trial"], failed["round"], failed["ranks"], failed["ahead"]) == (1, 0, [], None)
    assert not failed["chosen"] and "nan" in failed["failure"]


def test_fixed_settings_stay_and_nothing_is_written(world: Lake, log: str, lake: Lake) -> None:
    fixed = config(log, "fixed")
    assert with_choice(lake, fixed, DAY) is fixed
    tune(lake, fixed, DAY)
    assert not lake.exists(TUNING_TRIALS)
    with pytest.raises(MissingTableError, match="training_runs"):
        with_choice(lake, config(log), DAY)


def test_without_held_out_clicks_the_given_settings_stay(world: Lake, log: str) -> None:
    of_a_kind = config(log).evaluation.model_copy(update={"events": ("a kind that none is of",)})
    nothing = config(log).model_copy(update={"evaluation": of_a_kind})
    tune(world, nothing, DAY)
    (row,) = tried(world)
    assert "no clicks are held out" in row["failure"] and (row["chosen"], row["scores"], row["ranks"]) == (True, {}, [])
    assert with_choice(world, nothing, DAY).divspa == nothing.divspa
