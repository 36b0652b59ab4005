"""Several runs and readers of one lake at once: each ends in the state that they would have left one by one."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path

import deltalake
import duckdb
import polars as pl
import pytest
from pyspark.sql import SparkSession

from divspa import pipeline
from divspa.config import Config
from divspa.errors import ConflictError
from divspa.lake.lease import leased
from divspa.lake.tables import Lake
from divspa.schemas import JOB_RUNS, METRICS

DAYS = (date(2024, 1, 1), date(2024, 1, 2))
NAMES = ("a", "b", "c")
CONFIG = Config.model_validate({"clicks": {"path": "-", "user": "-", "item": "-", "time": "-"}})
TURNS = 3


def rows_of(value: float) -> list[tuple]:
    return [(name, "v", "all", name, value) for name in NAMES]


@pytest.fixture
def root(tmp_path: Path) -> str:
    return str(tmp_path / "lake")


def stage(values: dict[date, float]) -> Callable[[Lake, Config, date], None]:
    def evaluate(lake: Lake, config: Config, ds: date) -> None:
        lake.replace_day_with(METRICS, rows_of(values[ds]), ds)

    return evaluate


def test_of_two_runs_of_a_day_one_goes_on_and_the_other_says_so(
    spark: SparkSession, root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside, over = threading.Event(), threading.Event()

    def evaluate(lake: Lake, config: Config, ds: date) -> None:
        inside.set()
        over.wait(60)
        lake.replace_day_with(METRICS, rows_of(1.0), ds)

    monkeypatch.setattr(pipeline, "STAGES", {"evaluate": evaluate})
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(pipeline.run_stages, Lake(spark, root), CONFIG, DAYS[0])
        assert inside.wait(60)
        try:
            with pytest.raises(ConflictError, match=rf"works on {DAYS[0]}.*evaluate of {DAYS[0]}, process \d+"):
                pipeline.run_stages(Lake(spark, root), CONFIG, DAYS[0])
        finally:
            over.set()
        assert list(first.result()) == ["evaluate"]
    pipeline.run_stages(Lake(spark, root), CONFIG, DAYS[0])
    assert pl.read_delta(f"{root}/{METRICS.name}")["value"].to_list() == [1.0] * 3
    assert pl.read_delta(f"{root}/{JOB_RUNS.name}")["status"].to_list() == ["succeeded"] * 2


def test_a_run_whose_lease_was_taken_over_writes_nothing_more(
    spark: SparkSession, root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def evaluate(lake: Lake, config: Config, ds: date) -> None:
        assert lake.lease is not None
        lake.lease.lost = True
        lake.replace_day_with(METRICS, rows_of(1.0), ds)

    monkeypatch.setattr(pipeline, "STAGES", {"evaluate": evaluate})
    with pytest.raises(ConflictError, match=f"lease of {DAYS[0]} was lost"):
        pipeline.run_stages(Lake(spark, root), CONFIG, DAYS[0])
    assert not Lake(spark, root).exists(METRICS)


def whole(values: list[float]) -> bool:
    """Whether all rows of a day are of one write."""
    return len(values) == len(NAMES) and len(set(values)) == 1


def by_polars(path: str, spark: SparkSession) -> dict[date, list[float]]:
    return {day: part["value"].to_list() for (day,), part in pl.read_delta(path).group_by("ds")}


def by_duckdb(path: str, spark: SparkSession) -> dict[date, list[float]]:
    files = duckdb.read_parquet(deltalake.DeltaTable(path).file_uris(), hive_partitioning=True)
    found: dict[date, list[float]] = {}
    for day, value in files.project("ds, value").fetchall():
        found.setdefault(day, []).append(value)
    return found


def by_delta_rs(path: str, spark: SparkSession) -> dict[date, list[float]]:
    source = deltalake.DeltaTable(path)
    table = pl.DataFrame(deltalake.QueryBuilder().register("t", source).execute("SELECT ds, value FROM t").read_all())
    return {date.fromisoformat(str(day)): part["value"].to_list() for (day,), part in table.group_by("ds")}


def by_spark(path: str, spark: SparkSession) -> dict[date, list[float]]:
    found: dict[date, list[float]] = {}
    for day, value in spark.read.format("delta").load(path).select("ds", "value").collect():
        found.setdefault(day, []).append(value)
    return found


def test_two_days_maintain_and_readers_of_four_engines_at_once(
    spark: SparkSession, root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both days also create the table, and job_runs, at once."""
    values = dict.fromkeys(DAYS, 0.0)
    monkeypatch.setattr(pipeline, "STAGES", {"evaluate": stage(values)})
    path, over, seen, together = (
        f"{root}/{METRICS.name}",
        threading.Event(),
        dict.fromkeys(range(4), 0),
        threading.Barrier(2),
    )

    def write(day: date) -> None:
        together.wait()
        for turn in range(TURNS):
            values[day] = float(turn)
            pipeline.run_stages(Lake(spark, root), CONFIG, day)

    def read(at: int) -> None:
        reader = (by_spark, by_polars, by_duckdb, by_delta_rs)[at]
        while not over.is_set():
            if (Path(path) / "_delta_log" / f"{1:020}.json").exists():
                found = reader(path, spark)
                assert found and all(map(whole, found.values())), found
                seen[at] += 1
            time.sleep(0.05)

    def maintain() -> None:
        config = CONFIG.model_copy(update={"maintain": CONFIG.maintain.model_copy(update={"vacuum_hours": 0})})
        while not over.is_set():
            if Lake(spark, root).exists(METRICS):
                pipeline.run_stages(Lake(spark, root), config, DAYS[0], "maintain", "maintain")
            time.sleep(0.2)

    with ThreadPoolExecutor(7) as pool:
        writers = [pool.submit(write, day) for day in DAYS]
        others = [pool.submit(read, at) for at in range(4)] + [pool.submit(maintain)]
        try:
            for writer in writers:
                writer.result(300)
        finally:
            over.set()
        for other in others:
            other.result(60)
    last = float(TURNS - 1)
    assert {day: sorted(found) for day, found in by_polars(path, spark).items()} == dict.fromkeys(DAYS, [last] * 3)
    runs = pl.read_delta(f"{root}/{JOB_RUNS.name}").filter(pl.col("stage") == "evaluate")
    assert len(runs) == 2 * TURNS and set(runs["status"]) == {"succeeded"}
    assert all(count > 0 for count in seen.values()), seen
    assert list((Path(root) / "leases").iterdir()) == []


def test_days_that_others_work_on_do_not_stop_a_run(spark: SparkSession, root: str, monkeypatch) -> None:
    monkeypatch.setattr(pipeline, "STAGES", {"evaluate": stage(dict.fromkeys(DAYS, 2.0))})
    with leased(root, str(DAYS[1]), "augment"):
        pipeline.run_stages(Lake(spark, root), CONFIG, DAYS[0])
    assert by_polars(f"{root}/{METRICS.name}", spark) == {DAYS[0]: [2.0] * 3}
