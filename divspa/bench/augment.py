"""How fast the stage `augment` is, from embeddings in Delta to the committed table, beside the same work in memory."""

import tempfile
from datetime import date
from typing import Any

from divspa.augmentation.augment import augment
from divspa.bench.measure import measured
from divspa.bench.positives import Positives
from divspa.bench.vectors import Embeddings
from divspa.config import Config, Spark
from divspa.lake.session import spark_session
from divspa.lake.tables import Lake
from schemas import EXAMPLES

DAY = date(2024, 6, 30)


def bench_augment(pairs: int, users: int, items: int, dim: int, seed: int = 17) -> dict[str, Any]:
    """Augment about `pairs` pairs of `users` users and `items` items with the default settings."""
    spark = spark_session(Spark())
    config = Config.model_validate({"clicks": {"path": "-", "user": "-", "item": "-", "time": "-"}, "seed": seed})
    with tempfile.TemporaryDirectory(prefix="divspa-bench-") as folder:
        lake = Lake(spark, folder)
        Positives(pairs, users, items, Embeddings(dim, seed)).write(lake, DAY, config.model.name)
        made = lake.read_day(EXAMPLES, DAY).count()
        with measured() as cost:
            augment(lake, config, DAY)
        return {
            "bench": "augment",
            "sizes": {"pairs": made, "users": users, "items": items, "dim": dim},
            "ours": cost.as_json(made),
        }
