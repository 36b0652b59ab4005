"""A session for a small log, as it is started where nobody has set anything, and beside options of a user."""

import json
import os
import subprocess
import sys

from divspa.lake.session import FOR_FEW_ROWS

SESSION = f"""
import json
from divspa.lake.session import spark_session
from divspa.lake.settings import Spark
spark = spark_session(Spark(master="local[1]", driver_memory="1g", small_log=True))
options = {{key: spark.conf.get(key) for key in {list(FOR_FEW_ROWS)!r}}}
java = spark._jvm.java.lang.management.ManagementFactory.getRuntimeMXBean().getInputArguments()
print(json.dumps({{"options": options, "java": list(java)}}))
"""


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
