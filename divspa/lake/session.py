"""The Spark session, with Delta on its classpath, however the process was started."""

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pyspark import SparkConf, SparkContext
from pyspark.find_spark_home import _find_spark_home
from pyspark.sql import SparkSession

from divspa.errors import ConfigError, SetupError, one_line
from divspa.lake.held import FORGETS_PLANS
from divspa.lake.privacy import before_java, file_modes, on_loopback, redaction
from divspa.lake.settings import LEAST_MEMORY, Spark
from divspa.storage import S3, is_s3, make_folder

DELTA = {
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
}

S3A = "org.apache.hadoop.fs.s3a.S3AFileSystem"
# What pays for itself over many rows alone: queries compiled to Java, and planned anew by what their first stages show.
FOR_FEW_ROWS = {
    "spark.sql.adaptive.enabled": "false",
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
}
# No second compiler and no collector of several threads. The first compiler alone has 48 MB for what it compiles: full
# after a few stages, whereupon Java throws away, interprets and compiles again what every query needs.
JAVA_FOR_FEW_ROWS = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -XX:ReservedCodeCacheSize=240m"
# Not imported here, as the lake knows no torch.
WORKERS = "divspa.workers"
# Where a user may have chosen options of Java.
JAVA_OPTIONS = ("JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS", "PYSPARK_SUBMIT_ARGS")

CREDENTIALS = (
    "org.apache.hadoop.fs.s3a.TemporaryAWSCredentialsProvider",
    "org.apache.hadoop.fs.s3a.SimpleAWSCredentialsProvider",
    "software.amazon.awssdk.auth.credentials.DefaultCredentialsProvider",
)


def spark_session(
    settings: Spark, name: str = "divspa", *, paths: Iterable[str] = (), event_log: str | None = None
) -> SparkSession:
    """Start, or join, the Spark session. Options given to spark-submit win over the configuration's.

    S3 is set up where one of the `paths` to be read or written lies there; the event log goes to a folder. Raises
    SetupError when Java, Delta or hadoop-aws is missing, with the one thing to do, and ConfigError when the folder of
    the event log cannot be made.
    """
    # Workers must run this very environment, whatever `python3` means on the PATH.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    needs_s3 = any(map(is_s3, paths))
    options = _session_options(settings) | (_s3_options() if needs_s3 else {})
    if "PYSPARK_GATEWAY_PORT" in os.environ:
        SparkContext._ensure_initialized()
    running = SparkContext._gateway is not None  # spark-submit's JVM, or one of an earlier session
    packages = [] if running else _packages(needs_s3)
    if running:
        _require_classes(needs_s3)
        if SparkContext._active_spark_context is None:
            given = SparkConf()
            options |= on_loopback(given.get("spark.master", settings.master) or settings.master, given.contains)
    else:
        require_java()
        options |= before_java(settings.master)
        if _is_one_process(settings.master):
            options["spark.python.daemon.module"] = WORKERS
            if settings.small_log and not _java_is_chosen():
                options["spark.driver.defaultJavaOptions"] += f" {JAVA_FOR_FEW_ROWS}"
        options |= {"spark.master": settings.master, "spark.driver.memory": settings.driver_memory or LEAST_MEMORY}
        if packages:
            options["spark.jars.packages"] = ",".join(packages)
    if event_log and not (running and SparkConf().contains("spark.eventLog.enabled")):
        options |= _event_log_options(event_log)
    builder = SparkSession.builder.appName(name)
    for key, value in options.items():
        builder = builder.config(key, value)
    with _alone_where(packages):
        spark = builder.getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    if settings.small_log:
        _plan_for_few_rows(spark)
    return spark


def _plan_for_few_rows(spark: SparkSession) -> None:
    """Set, for this session alone, what spares planning; Spark's own options only where nobody has set any of these."""
    given = spark.sparkContext.getConf()
    if _is_one_process(given.get("spark.master", "")):
        spark.conf.set(FORGETS_PLANS, "true")
        if not any(map(given.contains, FOR_FEW_ROWS)):
            for key, value in FOR_FEW_ROWS.items():
                spark.conf.set(key, value)


def _is_one_process(master: str) -> bool:
    return master == "local" or master.startswith("local[")


def _java_is_chosen() -> bool:
    """Whether somebody has chosen a compiler or collector, beside which ours might keep Java from starting."""
    defaults = Path(os.environ.get("SPARK_CONF_DIR") or Path(_find_spark_home(), "conf"), "spark-defaults.conf")
    told = [os.environ.get(name, "") for name in JAVA_OPTIONS] + ([defaults.read_text()] if defaults.exists() else [])
    return any("-XX:" in text for text in told)


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
        "spark.sql.shuffle.partitions": str(settings.tasks),
        # Fields and columns of users may differ from each other, and from ours, by case alone.
        "spark.sql.caseSensitive": "true",
        "spark.ui.showConsoleProgress": "false",
        # Each Delta commit would otherwise read the log with 50 tasks.
        "spark.databricks.delta.snapshotPartitions": "1" if settings.small_log else "2",
        # A task that meets both splits of a day writes two files at once instead of sorting its rows by split.
        "spark.sql.maxConcurrentOutputFileWriters": "8",
        "spark.sql.execution.arrow.pyspark.enabled": "true",
        "spark.sql.execution.arrow.maxRecordsPerBatch": "10000",
        "spark.sql.sources.default": "delta",
        "spark.sql.debug.maxToStringFields": "200",
        **redaction(),
        **file_modes(),
    }


def _s3_options() -> dict[str, str]:
    """Where S3 is, as divspa.storage has it for Arrow; a part that is not given is left to hadoop-aws."""
    s3 = S3.of_environment()
    options = {
        "spark.hadoop.fs.s3.impl": S3A,
        # First what Spark found in the driver's environment and takes to the executors, then AWS's own chain.
        "spark.hadoop.fs.s3a.aws.credentials.provider": ",".join(CREDENTIALS),
    }
    if s3.endpoint:
        options["spark.hadoop.fs.s3a.endpoint"] = s3.endpoint
        options["spark.hadoop.fs.s3a.path.style.access"] = "true"
        options["spark.hadoop.fs.s3a.connection.ssl.enabled"] = str(not s3.endpoint.startswith("http://")).lower()
    if s3.region:
        options["spark.hadoop.fs.s3a.endpoint.region"] = s3.region
    return options


def _event_log_options(folder: str) -> dict[str, str]:
    try:
        make_folder(folder)
    except OSError as error:
        raise ConfigError(
            f"Spark's event log cannot be written to {folder}",
            found=one_line(error),
            remedy="mend `lake` or `spark.event_log`; on S3 the bucket has to be there, and endpoint, region and "
            "credentials come from the environment",
        ) from error
    return {"spark.eventLog.enabled": "true", "spark.eventLog.dir": folder}


def _packages(needs_s3: bool) -> list[str]:
    """What is to be fetched because it does not lie among Spark's jars."""
    jars = Path(_find_spark_home()) / "jars"
    wanted = {"delta-spark": f"io.delta:delta-spark_2.13:{version('delta-spark')}"}
    if needs_s3:
        # hadoop-aws fits the Hadoop of its own version only.
        hadoop = next(jars.glob("hadoop-client-api-*.jar")).stem.rpartition("-")[2]
        wanted["hadoop-aws"] = f"org.apache.hadoop:hadoop-aws:{hadoop}"
    return [package for name, package in wanted.items() if not any(jars.glob(f"{name}*.jar"))]


@contextmanager
def _alone_where(packages: list[str]) -> Iterator[None]:
    """Start one process at a time where packages are fetched: two that fill Ivy's cache at once break each other."""
    if not packages:
        yield
        return
    lock = Path.home() / ".cache" / "divspa" / "packages.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _require_classes(needs_s3: bool) -> None:
    """Raise SetupError when a JVM that runs already lacks a package: it is too late to fetch one."""
    jvm: Any = SparkContext._jvm
    loader = jvm.Thread.currentThread().getContextClassLoader()
    wanted = {"Delta": DELTA["spark.sql.extensions"]} | ({"hadoop-aws": S3A} if needs_s3 else {})
    for package, name in wanted.items():
        try:
            jvm.java.lang.Class.forName(name, True, loader)
        except Exception as error:
            raise SetupError(
                f"{package} is not on Spark's classpath",
                remedy=f"give spark-submit `--packages {','.join(_packages(needs_s3))}`",
            ) from error
