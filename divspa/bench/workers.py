"""A measured search on another Spark: `python -m divspa.bench.workers FOLDER MASTER '{"users": …}'` prints seconds."""

import json
import sys
from pathlib import Path

from divspa.bench.retrieval import Asked, searched
from divspa.config import Spark
from divspa.lake.session import spark_session

if __name__ == "__main__":
    _, written, master, request = sys.argv
    cost, _ = searched(spark_session(Spark(master=master)), Path(written), Asked(**json.loads(request)))
    print(json.dumps(round(cost.seconds, 3)))
