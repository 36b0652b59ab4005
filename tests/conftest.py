"""One Spark session for the whole run: starting one costs seconds."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from divspa.config import Spark
from divspa.lake.session import spark_session
from divspa.lake.tables import Lake


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkSession]:
    session = spark_session(Spark(master="local[2]", driver_memory="2g", partitions=2))
    yield session
    session.stop()


@pytest.fixture
def lake(spark: SparkSession, tmp_path: Path) -> Lake:
    return Lake(spark, str(tmp_path / "lake"))
