"""One Spark session for the whole run: starting one costs seconds, and planning queries most of the rest."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from divspa.config import Spark
from divspa.lake.session import spark_session
from divspa.lake.tables import Lake

# A test ends before Java's second compiler has paid for itself; nor does a query over ten rows repay being compiled to
# Java, or planned again with what its first stage has shown. One end-to-end test takes Spark as users have it.
FOR_FEW_ROWS = (
    "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Dspark.sql.adaptive.enabled=false "
    "-Dspark.sql.codegen.wholeStage=false -Dspark.sql.codegen.factoryMode=NO_CODEGEN"
)
os.environ.setdefault("JAVA_TOOL_OPTIONS", FOR_FEW_ROWS)


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkSession]:
    session = spark_session(Spark(master="local[2]", driver_memory="2g", partitions=2))
    yield session
    session.stop()


@pytest.fixture
def lake(spark: SparkSession, tmp_path: Path) -> Lake:
    return Lake(spark, str(tmp_path / "lake"))
