"""Configurations and click logs at random, as many as asked for; ends at the first that is wrong, made small.

.venv/bin/python -m tests.fuzz --configurations 10000 --logs 2000 [--minutes 60]
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, settings

from divspa.lake.session import spark_session
from divspa.lake.settings import Spark
from divspa.lake.tables import Lake
from tests.fuzz.configurations import CONFIGURATIONS, try_configuration
from tests.fuzz.logs import LOGS, try_log

CHECKS = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--configurations", type=int, default=10_000)
    parser.add_argument("--logs", type=int, default=200)
    parser.add_argument("--minutes", type=float, default=60, help="of the logs, at most")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = {"configurations": configurations(Path(folder), asked.configurations)}
        if asked.logs:
            found["logs"] = logs(Path(folder), asked.logs, time.monotonic() + 60 * asked.minutes)
    print(json.dumps(found))


def configurations(folder: Path, count: int) -> dict[str, int]:
    taken = {"tried": 0, "taken": 0}

    @settings(max_examples=count, deadline=None, database=None, suppress_health_check=CHECKS)
    @given(CONFIGURATIONS)
    def each(case: tuple) -> None:
        taken["taken"] += try_configuration(folder, case)
        taken["tried"] += 1

    if count:
        each()
    return taken


def logs(folder: Path, count: int, until: float) -> dict[str, int]:
    spark = spark_session(Spark(master="local[2]", driver_memory="2g", partitions=2))
    lake, tried = Lake(spark, str(folder / "lake")), {"tried": 0}

    @settings(max_examples=count, deadline=None, database=None, suppress_health_check=CHECKS, phases=[Phase.generate])
    @given(LOGS)
    def each(log) -> None:
        if time.monotonic() < until:
            tried["tried"] += 1
            try_log(lake, folder / f"log {tried['tried']}", log)

    each()
    spark.stop()
    return tried


if __name__ == "__main__":
    main()
