"""A few of the random configurations and logs of `python -m tests.fuzz`, and a day of next to nothing."""

import itertools
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from fuzz.configurations import CONFIGURATIONS, try_configuration
from fuzz.days import run
from fuzz.logs import LOGS, try_log
from hypothesis import HealthCheck, Phase, given, settings
from pyspark.sql import SparkSession

from divspa.config import Config
from divspa.lake.tables import Lake

CHECKS = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large]


@settings(max_examples=300, deadline=None, suppress_health_check=CHECKS)
@given(CONFIGURATIONS)
def test_a_configuration_is_taken_or_refused(tmp_path_factory, case) -> None:
    try_configuration(tmp_path_factory.getbasetemp(), case)


def test_a_log_of_any_schema_is_read_as_it_was_meant(lake: Lake, tmp_path: Path) -> None:
    numbers = itertools.count()

    @settings(max_examples=8, deadline=None, suppress_health_check=CHECKS, phases=[Phase.generate])
    @given(LOGS)
    def each(log) -> None:
        try_log(lake, tmp_path / f"log {next(numbers)}", log)

    each()


def test_a_day_of_next_to_nothing_is_published(spark: SparkSession, tmp_path: Path) -> None:
    """No click is held out, and no two items have a user in common, so that the linear model says nothing."""
    at = [datetime(2024, 2, day, tzinfo=UTC) for day in (1, 28)]
    rows = [(user, f"i{(user + turn) % 2}", at[turn]) for user in range(12) for turn in (0, 1)]
    clicks = dict(zip(("user", "item", "time"), map(list, zip(*rows, strict=True)), strict=True))
    pq.write_table(pa.table(clicks), tmp_path / "clicks.parquet")
    off = {"filled": 0.0, "way_filled": 0.0}
    config = {
        "lake": str(tmp_path / "lake"),
        "clicks": {"path": str(tmp_path / "clicks.parquet"), "user": "user", "item": "item", "time": "time"},
        "features": {"gates": {"max_item_share": None, "max_user_share": None}},
        "split": {"test_share": 0.5, "validation_events": 0},
        "training": {"epochs": 1, "gates": {"min_spread": 0.0, "max_direction": 1.0}},
        "divspa": {"ways": ["u2i", "linear_i2i"], "gates": off},
        "spark": {"event_log": None, "partitions": 2},
    }
    run(spark, Config.model_validate(config))
    neighbours = pl.read_delta(str(tmp_path / "lake" / "item_neighbours"))
    assert neighbours["weights"].to_list() == [[0.0], [0.0]]
    reasons = pl.read_delta(str(tmp_path / "lake" / "channels")).filter("published")["reason"].to_list()
    assert reasons == ["no clicks are held out to choose by"]
