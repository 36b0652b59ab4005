"""A session for a small log, as it is started where nobody has set anything, and beside options of a user."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
from pyspark.sql import SparkSession

from divspa.lake.session import FOR_FEW_ROWS, WORKERS

SESSION = f"""
import json
from divspa.lake.session import spark_session
from divspa.lake.settings import Spark
spark = spark_session(Spark(master="local[1]", driver_memory="1g", small_log=True))
options = {{key: spark.conf.get(key) for key in {list(FOR_FEW_ROWS)!r}}}
java = spark._jvm.java.lang.management.ManagementFactory.getRuntimeMXBean().getInputArguments()
print(json.dumps({{"options": options, "java": list(java)}}))
"""


def test_python_workers_are_forked_from_a_process_with_their_imports(spark: SparkSession) -> None:
    def parents(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for _ in batches:
            yield pa.RecordBatch.from_pydict({"command": [Path(f"/proc/{os.getppid()}/cmdline").read_text()]})

    commands = spark.range(1).mapInArrow(parents, "command string").collect()
    assert commands and all(f"-m\0{WORKERS}\0" in row["command"] for row in commands)


def start(**environment: str) -> subprocess.Popen[str]:
    own = {name: value for name, value in os.environ.items() if name != "JAVA_TOOL_OPTIONS"}
    return subprocess.Popen([sys.executable, "-c", SESSION], env=own | environment, stdout=subprocess.PIPE, text=True)


def test_a_small_log_is_planned_and_compiled_for_few_rows_unless_a_user_has_chosen() -> None:
    chosen = "--conf spark.sql.codegen.wholeStage=true --conf spark.driver.extraJavaOptions=-XX:+UseG1GC pyspark-shell"
    sessions = start(), start(PYSPARK_SUBMIT_ARGS=chosen)
    ours, theirs = (json.loads(session.communicate(timeout=300)[0].splitlines()[-1]) for session in sessions)
    assert ours["options"] == FOR_FEW_ROWS and "-XX:TieredStopAtLevel=1" in ours["java"]
    assert theirs["options"]["spark.sql.adaptive.enabled"] == "true"
    assert theirs["options"]["spark.sql.codegen.factoryMode"] == "FALLBACK"
    assert "-XX:TieredStopAtLevel=1" not in theirs["java"] and "-XX:+UseG1GC" in theirs["java"]
