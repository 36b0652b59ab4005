"""`maintain` on real Delta tables: small files joined, old days gone, pinned versions still readable."""

import os
from collections.abc import Iterable
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any

import pytest
from pyspark import SparkConf
from pyspark.sql import SparkSession

from divspa.config import Config
from divspa.lake.event_logs import enter_in_manifest
from divspa.lake.lease import leased
from divspa.lake.maintain import maintain, maintain_dry_run
from divspa.lake.tables import Lake
from divspa.schemas import CLICKS, JOB_RUNS, METRICS, TRAINING_RUNS

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
    row = ("v", "folder", "{}", versions, [1.0], [0.5], 0, 10, 1.0, False, None)
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
    version = lake.version(METRICS)
    maintain(lake, config(), DAY)
    assert data_files(lake) == left and values(lake, first) == [2.0]
    assert lake.version(METRICS) == version, "where nothing is to do, nothing is committed"


@pytest.mark.parametrize("folder", ["my lake", "läke", "a+b", "50%"])
def test_pinned_files_are_known_however_the_folder_is_spelled(spark: SparkSession, tmp_path: Path, folder: str) -> None:
    lake = Lake(spark, str(tmp_path / folder))
    write_metrics(lake, DAY, 2.0)
    first = lake.version(METRICS)
    for value in (3.0, 4.0):
        write_metrics(lake, DAY, value)
    write_run(lake, DAY, {"metrics": first})
    maintain(lake, config(), DAY)
    assert values(lake, first) == [2.0] and values(lake) == [4.0]
    assert len(data_files(lake)) == 2 + 1


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
        Path(f"{lake.root}/refit/{ds}/examples").mkdir(parents=True)
    settings = config(keep_days=4).model_copy(update={"lake": lake.root})
    maintain(lake, settings, DAY)
    assert values(lake, ds=OLD) == [] and values(lake) == [3.0]
    maintain(lake, settings, DAY)
    assert {path.name for path in Path(lake.path(METRICS)).iterdir()} == {"_delta_log", f"ds={DAY}"}
    assert lake.read_day(CLICKS, OLD).count() == 1
    assert [path.name for path in Path(f"{lake.root}/reports").iterdir()] == [f"ds={DAY}"]
    assert [path.name for path in Path(f"{lake.root}/checkpoints").iterdir()] == [f"ds={DAY}"]
    assert [path.name for path in Path(f"{lake.root}/refit").iterdir()] == [str(DAY)]


# Names as Spark gives them: rolling and single files, ended and not, with an attempt, of several codecs.
OURS = ("eventlog_v2_local-1", "eventlog_v2_app-2_1", "app-3.zstd", "app-3_2.inprogress", "spark-job_4.lz4.inprogress")
FOREIGN = ("eventlog_v2_local-10", "eventlog_v2_app-22_1", "app-33.zstd", "notes.txt", "app-3-of-others", "_folder/x")


def write_logs(folder: Path, names: Iterable[str], last: date) -> None:
    for name in names:
        log = folder / name / "events_1_x.zstd" if name.startswith("eventlog_v2") else folder / name
        log.parent.mkdir(parents=True, exist_ok=True)
        log.touch()
        os.utime(log, (datetime.combine(last, time(), UTC).timestamp(),) * 2)


def enter(lake: Lake, entry: str, last: date) -> None:
    write_logs(Path(f"{lake.root}/applications"), [entry], last)


def test_of_event_logs_only_old_ones_of_this_lake_are_deleted(lake: Lake, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    write_logs(shared, [*OURS, *FOREIGN], OLD)
    write_logs(shared, ["eventlog_v2_local-5"], DAY)
    row = ("run", "augment", datetime.now(UTC), "succeeded", 1.0, {}, {}, {}, {}, 1.0, "App 2", "0", "s", None)
    lake.append_with(JOB_RUNS, [row], OLD)
    for entry in ("local-1", "app-3", "spark-job_4", "local-5", "gone"):
        enter(lake, entry, OLD)
    settings = Config.model_validate(
        config(keep_days=4).model_dump() | {"lake": lake.root, "spark": {"event_log": str(shared)}}
    )
    maintain_dry_run(lake, settings, DAY)
    assert len(list(shared.iterdir())) == len(OURS) + len(FOREIGN) + 1
    maintain(lake, settings, DAY)
    left = {str(path.relative_to(shared)) for path in shared.rglob("*") if path.is_file()}
    kept = {f"{name}/events_1_x.zstd" if name.startswith("eventlog_v2") else name for name in FOREIGN}
    assert left == kept | {"eventlog_v2_local-5/events_1_x.zstd"}
    assert [path.name for path in Path(f"{lake.root}/applications").iterdir()] == ["local-5"]


def test_a_run_enters_its_application_before_its_first_stage(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = lake.spark.sparkContext
    monkeypatch.setattr(context, "getConf", lambda: SparkConf(loadDefaults=False).set("spark.eventLog.dir", "/shared"))
    enter_in_manifest(lake, "/elsewhere")
    enter_in_manifest(lake, None)
    assert not Path(f"{lake.root}/applications").exists()
    enter_in_manifest(lake, "/shared")
    assert [path.name for path in Path(f"{lake.root}/applications").iterdir()] == [context.applicationId]


def test_a_dry_run_names_what_would_go_and_deletes_nothing(
    world: tuple[Lake, int, int], capsys: pytest.CaptureFixture[str]
) -> None:
    lake, *_ = world
    folder = Path(f"{lake.root}/reports/ds={OLD}")
    folder.mkdir(parents=True)
    before, version = data_files(lake), lake.version(METRICS)
    settings = config(keep_days=4).model_copy(update={"lake": lake.root})
    maintain_dry_run(lake, settings, DAY)
    said = capsys.readouterr().err
    assert f"metrics: {OLD}" in said and str(folder) in said
    unneeded = {name for name in before if name in said}
    assert "1 days of tables, 1 folders, 0 event logs and 2 files" in said
    assert folder.exists() and data_files(lake) == before and lake.version(METRICS) == version
    maintain(lake, settings.model_copy(update={"maintain": config().maintain}), DAY)
    assert unneeded and not unneeded & data_files(lake), "what it named is what goes"


def test_nothing_is_vacuumed_while_another_run_works_on_the_lake(
    world: tuple[Lake, int, int], capsys: pytest.CaptureFixture[str]
) -> None:
    lake, first, _ = world
    before = data_files(lake)
    with leased(lake.root, str(DAY), "train_base"):
        maintain(lake, config(), DAY)
        assert before < data_files(lake) and values(lake, first) == [2.0]
        assert "another run works on the lake: train_base of 2024-01-05" in " ".join(capsys.readouterr().err.split())
    maintain(lake, config(), DAY)
    assert len(data_files(lake)) == 2 + 1 and values(lake) == [3.0]
