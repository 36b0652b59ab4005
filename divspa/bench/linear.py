"""How long the stage `train_linear` takes, from clicks in Delta to the committed table, beside EASE in memory."""

import json
import tempfile
from datetime import date
from pathlib import Path
from typing import Any

from pyspark.sql import functions as F

from divspa.bench.measure import heap, in_child, measured, reference
from divspa.bench.positives import Positives
from divspa.bench.vectors import Embeddings
from divspa.config import Config
from divspa.lake.session import spark_session
from divspa.lake.settings import Spark
from divspa.lake.tables import Lake, local_path
from divspa.linear.settings import Linear
from divspa.linear.train import train_linear
from divspa.schemas import ITEM_NEIGHBOURS, USER_FEATURES

DAY = date(2024, 6, 30)
CLICKS_A_USER, HELD_OUT = 10, 5000


def bench_linear(items: int, clicks: int, dense: int, seed: int = 17) -> dict[str, Any]:
    """Learn the linear model from about so many clicks on so many items, with the default settings but `dense`.

    Ours chooses the regularisation and goes on beyond the `dense` most clicked items; the peer `in_memory` is one
    closed form of these alone, with one regularisation, and cannot know the others.
    """
    users = -(-clicks // CLICKS_A_USER)
    spark = spark_session(Spark(driver_memory=heap(clicks)))
    linear = Linear(max_dense_items=dense)
    settings = {"clicks": {"path": "-", "user": "-", "item": "-", "time": "-"}, "linear": linear.model_dump()}
    settings["spark"] = {"partitions": max(4, clicks // 1_000_000)}
    config = Config.model_validate(settings)
    with tempfile.TemporaryDirectory(prefix="divspa-bench-") as folder:
        lake = Lake(spark, folder)
        Positives(clicks, users, items, Embeddings(32, seed)).write_clicks(lake, DAY, HELD_OUT)
        made = lake.read_day(USER_FEATURES, DAY).agg(F.sum(F.size("clicked"))).head()[0]  # pyright: ignore[reportOptionalSubscript]
        with measured() as cost:
            train_linear(lake, config, DAY)
        written = lake.read_day(ITEM_NEIGHBOURS, DAY)
        counted = written.agg(F.count("*"), F.sum(F.size("weights"))).head()
        asked = {
            "files": [local_path(url) for url in lake.files(USER_FEATURES, DAY, lake.version(USER_FEATURES))],
            "out": f"{folder}/in_memory.npz",
            "items": dense,
            "regularisation": linear.regularisations[0],
            "neighbours": linear.neighbours,
        }
        theirs = _in_memory(asked, Path(folder) / "asked.json")
        return {
            "bench": "linear",
            "sizes": {"clicks": made, "users": users, "items": items, "dense": dense},
            "ours": cost.as_json(made),
            "references": {"in_memory": reference(cost.seconds, theirs.pop("seconds"), made, **theirs)},
            "items_with_neighbours": counted[0],  # pyright: ignore[reportOptionalSubscript]
            "weights": counted[1],  # pyright: ignore[reportOptionalSubscript]
        }


def _in_memory(asked: dict[str, Any], path: Path) -> dict[str, float]:
    """The cost of the peer, in a child process."""
    path.write_text(json.dumps(asked))
    return {name: round(value, 2) for name, value in in_child("in_memory_linear", str(path)).items()}
