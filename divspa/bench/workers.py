"""A measured search by workers of one core each: `python -m divspa.bench.workers FOLDER WORKERS '{"users": …}'`."""

import json
import sys
import time
from pathlib import Path
from typing import Any

from divspa.bench.retrieval import Asked, searched
from divspa.lake.session import spark_session
from divspa.lake.settings import Spark

WORKER_MB = 3072


def main(folder: Path, workers: int, asked: Asked) -> float:
    """Seconds, once every worker is there."""
    spark = spark_session(Spark(master=f"local-cluster[{workers},1,{WORKER_MB}]"))
    context: Any = spark.sparkContext._jsc
    while len(context.sc().statusTracker().getExecutorInfos()) <= workers:  # the driver is one of them
        time.sleep(0.1)
    cost, _ = searched(spark, folder, asked)
    return cost.seconds


if __name__ == "__main__":
    print(json.dumps(round(main(Path(sys.argv[1]), int(sys.argv[2]), Asked(**json.loads(sys.argv[3]))), 3)))
