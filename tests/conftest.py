"""One Spark session for the whole run: starting one costs seconds, and planning queries most of the rest."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from pyspark.sql import SparkSession

from divspa.lake.session import FOR_FEW_ROWS, JAVA_FOR_FEW_ROWS, spark_session
from divspa.lake.settings import Spark
from divspa.lake.tables import Lake

# As for a small log, also in every process that a test starts; one end-to-end test has what larger logs have.
SMALL_LOG = " ".join([JAVA_FOR_FEW_ROWS, *(f"-D{key}={value}" for key, value in FOR_FEW_ROWS.items())])
os.environ.setdefault("JAVA_TOOL_OPTIONS", SMALL_LOG)
# Two workers on two cores: a second thread of torch would wait in a loop for a core that the other one has.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# The same cases in every run, so that a change is judged by what it changes; `python -m tests.fuzz` looks for new ones.
settings.register_profile("same", derandomize=True, deadline=None)
settings.load_profile("same")


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    tmp_path_factory.getbasetemp()  # before the session has a temporary folder of its own
    session = spark_session(Spark(master="local[2]", driver_memory="2g", partitions=2, small_log=True))
    yield session
    session.stop()


@pytest.fixture
def lake(spark: SparkSession, tmp_path: Path) -> Lake:
    return Lake(spark, str(tmp_path / "lake"))
