"""`maintain` on real Delta tables: small files joined, old days gone, pinned versions still readable."""

import os
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any

import pytest

from divspa.config import Config
from divspa.lake.maintain import maintain
from divspa.lake.tables import Lake
from schemas import CLICKS, METRICS, TRAINING_RUNS

OLD, DAY = date(2024, 1, 1), date(2024, 1, 5)


def config(**settings: Any) -> Config:
    clicks = {"path": "-", "user": "-", "item": "-", "time": "-"}
    return Config.model_validate({"clicks": clicks, "maintain": {"vacuum_hours": 0, **settings}})


def write_metrics(lake: Lake, ds: date, value: float) -> None:
    """Two files of a row each."""
    rows = [(name, "v", "all", name, value) for name in ("a", "b")]
    columns = "model string, model_version string, slice string, metric string, value double"
    lake.replace_day(METRICS, lake.spark.createDataFrame(rows, columns).repartition(2, "model"), ds)


def write_run(lake: Lake, ds: date, versions: dict[str, int]) -> None:
    row = ("v", "folder", "{}", versions, [1.0], [0.5], 0, 10, 1.0, False)
    lake.replace_day_with(TRAINING_RUNS, [row], ds, model="divspa")


def values(lake: Lake, version: int | None = None, ds: date = DAY) -> list[float]:
    return sorted({row["value"] for row in lake.read(METRICS, version).where(f"ds = '{ds}'").collect()})


def data_files(lake: Lake) -> set[str]:
    return {path.name for path in Path(lake.path(METRICS)).rglob("*.parquet") if "_delta_log" not in str(path)}


@pytest.fixture
def world(lake: Lake) -> tuple[Lake, int, int]:
    """A lake whose metrics were written for an old day and twice for a new one; the versions of both writes."""
    write_metrics(lake, OLD, 1.0)
    write_metrics(lake, DAY, 2.0)
    first = lake.version(METRICS)
    write_metrics(lake, DAY, 3.0)
    return lake, first, lake.version(METRICS)


def test_files_are_joined_and_what_no_model_pins_is_removed(world: tuple[Lake, int, int]) -> None:
    lake, first, _ = world
    write_run(lake, DAY, {"metrics": first})
    maintain(lake, config(), DAY)
    assert values(lake) == [3.0]
    assert len(lake.files(METRICS, DAY, lake.version(METRICS))) == 1
    assert values(lake, first) == [2.0] and values(lake, first, OLD) == [1.0]
    left = data_files(lake)
    assert len(left) == 2 + 2 + 1  # the old day, the pinned version of the new one, and the joined file
    maintain(lake, config(), DAY)
    assert data_files(lake) == left and values(lake, first) == [2.0]


def test_a_version_that_nobody_pins_any_longer_goes(world: tuple[Lake, int, int]) -> None:
    lake, first, _ = world
    write_run(lake, OLD, {"metrics": first})
    maintain(lake, config(pinned_days=1), DAY)
    assert len(data_files(lake)) == 2 + 1 and values(lake) == [3.0]


def test_old_days_go_with_their_files_but_clicks_stay(world: tuple[Lake, int, int]) -> None:
    lake, *_ = world
    click = lake.spark.range(1).selectExpr(
        *(
            f"CAST('2024-01-01' AS {c.type}) AS {c.name}"
            if c.type in ("TIMESTAMP", "DATE")
            else f"CAST(1 AS {c.type}) AS {c.name}"
            for c in CLICKS.columns
        )
    )
    lake.replace_day(CLICKS, click, OLD)
    for ds in (OLD, DAY):
        Path(f"{lake.root}/reports/ds={ds}").mkdir(parents=True)
        Path(f"{lake.root}/checkpoints/ds={ds}/model=divspa").mkdir(parents=True)
    for log, last in (("old", OLD), ("new", DAY)):
        events = Path(f"{lake.root}/event_logs/{log}/events_1")
        events.parent.mkdir(parents=True)
        events.touch()
        os.utime(events, (datetime.combine(last, time(), UTC).timestamp(),) * 2)
    settings = config(keep_days=4).model_copy(update={"lake": lake.root})
    maintain(lake, settings, DAY)
    assert [path.name for path in Path(f"{lake.root}/event_logs").iterdir()] == ["new"]
    assert values(lake, ds=OLD) == [] and values(lake) == [3.0]
    assert lake.read_day(CLICKS, OLD).count() == 1
    assert [path.name for path in Path(f"{lake.root}/reports").iterdir()] == [f"ds={DAY}"]
    assert [path.name for path in Path(f"{lake.root}/checkpoints").iterdir()] == [f"ds={DAY}"]


def test_nothing_is_vacuumed_while_a_training_is_under_way(
    world: tuple[Lake, int, int], capsys: pytest.CaptureFixture[str]
) -> None:
    lake, first, _ = world
    before = data_files(lake)
    Path(f"{lake.root}/checkpoints/ds={DAY}/model=divspa/resume").mkdir(parents=True)
    maintain(lake, config(), DAY)
    assert before < data_files(lake) and values(lake, first) == [2.0]
    assert "a training is under way" in capsys.readouterr().err
