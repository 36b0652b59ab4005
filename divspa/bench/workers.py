"""A measured search on another Spark: `python -m divspa.bench.workers FOLDER MASTER '{"users": …}'` prints seconds."""

import json
import sys
import time
from pathlib import Path
from typing import Any

from divspa.bench.retrieval import Asked, searched
from divspa.config import Spark
from divspa.lake.session import spark_session

if __name__ == "__main__":
    _, written, master, request = sys.argv
    spark = spark_session(Spark(master=master))
    context: Any = spark.sparkContext._jsc
    while len(context.sc().statusTracker().getExecutorInfos()) <= int(
        master.removeprefix("local-cluster[").split(",")[0]
    ):
        time.sleep(0.1)  # the driver is one of them
    cost, _ = searched(spark, Path(written), Asked(**json.loads(request)))
    print(json.dumps(round(cost.seconds, 3)))
