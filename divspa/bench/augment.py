"""How fast the stage `augment` is, from embeddings in Delta to the committed table, beside the same work in memory."""

import json
import tempfile
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from divspa.augmentation.augment import augment
from divspa.bench.measure import heap, in_child, measured, reference
from divspa.bench.positives import Positives
from divspa.bench.vectors import Embeddings
from divspa.config import Config
from divspa.lake.session import spark_session
from divspa.lake.settings import Spark
from divspa.lake.tables import Lake, local_path
from divspa.retrieval.routed import default_clusters
from divspa.schemas import (
    AUGMENTATION_SUMMARY,
    AUGMENTED_POSITIVES,
    EXAMPLES,
    ITEM_EMBEDDINGS,
    USER_EMBEDDINGS,
    USER_FEATURES,
)

DAY = date(2024, 6, 30)


def bench_augment(pairs: int, users: int, items: int, dim: int, peers: list[str], seed: int = 17) -> dict[str, Any]:
    """Augment about `pairs` pairs of `users` users and `items` items with the default settings.

    Ours is the whole stage, with its gates, to the commit of both tables. The peer `in_memory` does the same work in
    one process of FAISS and numpy, from the same files to one Parquet file; `agreement` is the share of rows in which
    both added the same items with the same weights.
    """
    spark = spark_session(Spark(driver_memory=heap(pairs)))
    config = Config.model_validate({"clicks": {"path": "-", "user": "-", "item": "-", "time": "-"}, "seed": seed})
    with tempfile.TemporaryDirectory(prefix="divspa-bench-") as folder:
        lake = Lake(spark, folder)
        Positives(pairs, users, items, Embeddings(dim, seed)).write(lake, DAY, config.model.name)
        made = lake.read_day(EXAMPLES, DAY).count()
        with measured() as cost:
            augment(lake, config, DAY)
        summary = {row["way"]: row.asDict() for row in lake.read_day(AUGMENTATION_SUMMARY, DAY).collect()}
        result = {
            "bench": "augment",
            "sizes": {"pairs": made, "users": users, "items": items, "dim": dim},
            "ours": cost.as_json(made),
            "references": {},
            "recall": min(row["search_recall"] or 1.0 for row in summary.values()),
            "added_per_pair": round(summary["all"]["sampled_per_pair"], 3),
            "completed": sum(row["completed"] or 0 for row in summary.values()),
        }
        if "in_memory" in peers:
            out = Path(folder) / "in_memory.parquet"
            probes = {way: row["search_nprobe"] or 0 for way, row in summary.items()}
            theirs = _in_memory(lake, out, probes, users, seed)
            result["references"]["in_memory"] = reference(
                cost.seconds, theirs.pop("seconds"), made, **{name: round(value, 2) for name, value in theirs.items()}
            )
            result["agreement"] = _agreement(lake, out)
        return result


def _in_memory(lake: Lake, out: Path, probes: dict[str, int], users: int, seed: int) -> dict[str, float]:
    """Its cost in a child process, which looks into as many clusters for each way as ours did; 0: into everything."""
    tables = {
        table.name: [local_path(url) for url in lake.files(table, DAY, lake.version(table))]
        for table in (EXAMPLES, ITEM_EMBEDDINGS, USER_EMBEDDINGS, USER_FEATURES)
    }
    asked = {
        "tables": tables,
        "out": str(out),
        "threads": lake.spark.sparkContext.defaultParallelism,
        "clusters": default_clusters(users),
        "probes": probes,
        "seed": seed,
        "day": DAY.toordinal(),
    }
    out.with_suffix(".json").write_text(json.dumps(asked))
    return in_child("in_memory", str(out.with_suffix(".json")))


def _agreement(lake: Lake, path: Path) -> float:
    """The share of the first draw's rows that both have alike, on one file of ours."""
    files = lake.files(AUGMENTED_POSITIVES, DAY, lake.version(AUGMENTED_POSITIVES), draw=0)
    columns = ["example_id", "sampled_item_indices", "sampled_weights"]
    ours = pq.ParquetFile(local_path(files[0])).read(columns).to_pandas().set_index("example_id")
    theirs = pq.read_table(path, columns=columns, filters=[("draw", "=", 0)]).to_pandas().set_index("example_id")
    theirs = theirs.loc[ours.index]
    same = [
        np.array_equal(a, b) and np.allclose(v, w, atol=1e-5)
        for a, b, v, w in zip(
            ours["sampled_item_indices"],
            theirs["sampled_item_indices"],
            ours["sampled_weights"],
            theirs["sampled_weights"],
            strict=True,
        )
    ]
    return round(float(np.mean(same)), 4)
