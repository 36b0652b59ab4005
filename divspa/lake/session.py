"""The Spark session, with Delta on its classpath, however the process was started."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyspark
from pyspark import SparkContext
from pyspark.sql import SparkSession

from divspa.config import Spark
from divspa.errors import SetupError

DELTA = {
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
}


def spark_session(settings: Spark, name: str = "divspa") -> SparkSession:
    """Start, or join, the Spark session. Options given to spark-submit win over the configuration's.

    Raises SetupError when Java or Delta is missing, with the one thing to install.
    """
    # Workers must run this very environment, whatever `python3` means on the PATH.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    builder = SparkSession.builder.appName(name)
    for key, value in _session_options(settings).items():
        builder = builder.config(key, value)
    if "PYSPARK_GATEWAY_PORT" not in os.environ and SparkContext._gateway is None:
        require_java()
        builder = builder.master(settings.master).config("spark.driver.memory", settings.driver_memory)
        if not any(Path(pyspark.__file__).parent.glob("jars/delta-spark*.jar")):
            builder = builder.config("spark.jars.packages", _delta_package())
    spark = builder.getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    _require_delta(spark)
    return spark


def require_java() -> None:
    """Raise SetupError unless a Java 17 or 21 with Spark's modules can be started."""
    home = os.environ.get("JAVA_HOME")
    java = str(Path(home, "bin", "java")) if home else shutil.which("java")
    modules = ""
    if java and Path(java).exists():
        modules = subprocess.run([java, "--list-modules"], capture_output=True, text=True, check=False).stdout  # noqa: S603
    if "jdk.incubator.vector@17" not in modules and "jdk.incubator.vector@21" not in modules:
        found = modules.partition("\n")[0] if modules else "no java on the PATH or in JAVA_HOME"
        raise SetupError(
            "Spark needs Java 17 or 21",
            found=found,
            remedy="install a full one, for example `apt-get install openjdk-17-jre-headless`, or set JAVA_HOME to it",
        )


def _session_options(settings: Spark) -> dict[str, str]:
    return {
        **DELTA,
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.shuffle.partitions": str(settings.partitions),
        "spark.ui.showConsoleProgress": "false",
        # Each Delta commit would otherwise read the log with 50 tasks.
        "spark.databricks.delta.snapshotPartitions": "2",
        # A task that meets both splits of a day writes two files at once instead of sorting its rows by split.
        "spark.sql.maxConcurrentOutputFileWriters": "8",
        "spark.sql.execution.arrow.pyspark.enabled": "true",
        "spark.sql.execution.arrow.maxRecordsPerBatch": "10000",
        "spark.sql.sources.default": "delta",
        "spark.sql.debug.maxToStringFields": "200",
    }


def _delta_package() -> str:
    from importlib.metadata import version

    return f"io.delta:delta-spark_2.13:{version('delta-spark')}"


def _require_delta(spark: SparkSession) -> None:
    jvm: Any = spark._jvm
    loader = jvm.Thread.currentThread().getContextClassLoader()
    try:
        jvm.java.lang.Class.forName(DELTA["spark.sql.extensions"], True, loader)
    except Exception as error:
        spark.stop()
        raise SetupError(
            "Delta is not on Spark's classpath",
            remedy=f"give spark-submit `--packages {_delta_package()}`, or install divspa into the environment whose "
            "spark-submit you run",
        ) from error
