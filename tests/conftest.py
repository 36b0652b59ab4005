"""One Spark session for the whole run: starting one costs seconds, and planning queries most of the rest."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from divspa.config import Spark
from divspa.lake.session import spark_session
from divspa.lake.tables import Lake

# A test ends before Java's second compiler has paid for itself.
os.environ.setdefault("JAVA_TOOL_OPTIONS", "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -XX:ReservedCodeCacheSize=256m")
# Nor does a query over ten rows repay being compiled to Java, or planned again with what its first stage has shown.
# The end-to-end tests run in processes of their own, with Spark as users have it.
FOR_FEW_ROWS = {
    "spark.sql.adaptive.enabled": "false",
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
}


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkSession]:
    session = spark_session(Spark(master="local[2]", driver_memory="2g", partitions=2))
    for key, value in FOR_FEW_ROWS.items():
        session.conf.set(key, value)
    yield session
    session.stop()


@pytest.fixture
def lake(spark: SparkSession, tmp_path: Path) -> Lake:
    return Lake(spark, str(tmp_path / "lake"))
