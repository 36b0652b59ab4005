"""How fast and how right top-k search is, beside FAISS by itself and Spark's own ALSModel.recommendForAllUsers."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pyspark.ml.recommendation import ALS, ALSModel
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from divspa.bench.measure import Cost, measured, reference
from divspa.bench.raw_faiss import CHECKED, recall
from divspa.bench.vectors import Embeddings
from divspa.config import Spark
from divspa.errors import ConfigError
from divspa.lake.session import spark_session
from divspa.retrieval import SearchReport, SearchSettings, search

Plan = Literal["auto", "broadcast", "sharded", "routed"]
PEERS = ("raw_faiss", "als")


def bench_retrieval(
    users: int, items: int, dim: int, top_k: int, plan: Plan, peers: list[str], seed: int = 17
) -> dict[str, Any]:
    """Search the `top_k` of `items` vectors for each of `users` vectors; peers are of `raw_faiss` and `als`.

    Ours runs from embeddings in parquet to Spark's noop sink (`seconds`) and once more to a Delta table
    (`delta_seconds`), after a small search that warms the workers; the recall is taken from the Delta table, on other
    queries than those that nprobe was tuned on. Raises ConfigError for an unknown peer.
    """
    if unknown := sorted(set(peers) - set(PEERS)):
        raise ConfigError(f"No such reference: {', '.join(unknown)}", expected=" or ".join(PEERS))
    spark = spark_session(Spark())
    with tempfile.TemporaryDirectory(prefix="divspa-bench-") as name:
        folder = Path(name)
        _write_embeddings(spark, folder, users, items, Embeddings(dim, seed))
        settings = SearchSettings(plan=plan, seed=seed)
        to_noop, report = _searched(spark, folder, top_k, settings, _to_noop)
        to_delta, _ = _searched(spark, folder, top_k, settings, lambda found: _to_delta(found, folder / "found"))
        cores = spark.sparkContext.defaultParallelism
        raw, exact_QK = _raw_faiss(folder, top_k, cores, report)
        references = {"raw_faiss": _line(to_noop, raw, users)} if "raw_faiss" in peers else {}
        if "als" in peers:
            references["als"] = _line(to_noop, _als(spark, folder, dim, top_k), users)
        return {
            "bench": "retrieval",
            "sizes": {"users": users, "items": items, "dim": dim, "top_k": top_k, "cores": cores},
            "ours": to_noop.as_json(users) | {"delta_seconds": round(to_delta.seconds, 3)},
            "references": references,
            "recall": _recall_of(spark, folder, exact_QK),
            "recall_tuned": round(report.recall, 4),
            "plan": report.plan,
            "nprobe": report.nprobe,
            "clusters": report.clusters,
            "shards": report.shards,
        }


def _write_embeddings(spark: SparkSession, folder: Path, users: int, items: int, embeddings: Embeddings) -> None:
    embeddings.write(spark, str(folder / "users"), users, part=0)
    embeddings.write(spark, str(folder / "items"), items, part=1)


def _searched(
    spark: SparkSession, folder: Path, top_k: int, settings: SearchSettings, write: Callable[[DataFrame], None]
) -> tuple[Cost, SearchReport]:
    """One whole search, after a tiny one that starts the workers."""
    users, items = (spark.read.parquet(str(folder / side)) for side in ("users", "items"))
    few = items.limit(100)
    _to_noop(search(few, few, 1)[0])
    with measured() as cost:
        found, report = search(users, items, top_k, settings)
        write(found)
    return cost, report


def _to_noop(found: DataFrame) -> None:
    found.write.format("noop").mode("overwrite").save()


def _to_delta(found: DataFrame, path: Path) -> None:
    found.write.format("delta").mode("overwrite").save(str(path))


def _raw_faiss(folder: Path, top_k: int, threads: int, report: SearchReport) -> tuple[dict[str, float], np.ndarray]:
    """FAISS's cost in a child process, and the exact results of the first queries."""
    exact = folder / "exact.npy"
    asked = {
        "users": str(folder / "users"),
        "items": str(folder / "items"),
        "top_k": top_k,
        "threads": threads,
        "clusters": report.clusters,
        "nprobe": report.nprobe,
        "exact": str(exact),
    }
    command = [sys.executable, "-m", "divspa.bench.raw_faiss", json.dumps(asked)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 - our own module
    return json.loads(done.stdout), np.load(exact)


def _als(spark: SparkSession, folder: Path, dim: int, top_k: int) -> dict[str, float]:
    """Spark's own all-pairs recommendation with these vectors as factors.

    The model is saved after a fit of one rating, and its factors are replaced: fitting is not what is compared.
    """
    one = spark.createDataFrame([(0, 0, 1.0)], "user int, item int, rating float")
    path = folder / "als"
    ALS(rank=dim, maxIter=1).fit(one).write().overwrite().save(str(path))
    for side, factors in (("users", "userFactors"), ("items", "itemFactors")):
        vectors = spark.read.parquet(str(folder / side))
        renamed = vectors.select(F.col("id").cast("int").alias("id"), F.col("vector").alias("features"))
        renamed.write.mode("overwrite").parquet(str(path / factors))
    model = ALSModel.load(str(path))
    with measured() as cost:
        _to_noop(model.recommendForAllUsers(top_k))
    return {"seconds": cost.seconds, "cpu_seconds": cost.cpu_seconds, "peak_gb": cost.peak_gb}


def _line(ours: Cost, theirs: dict[str, float], users: int) -> dict[str, float]:
    more = {name: round(value, 4) for name, value in theirs.items() if name != "seconds"}
    return reference(ours.seconds, theirs["seconds"], users, **more)


def _recall_of(spark: SparkSession, folder: Path, exact_QK: np.ndarray) -> float:
    """The recall of the Delta table's first queries."""
    rows = spark.read.format("delta").load(str(folder / "found")).where(F.col("id") < CHECKED).orderBy("id").collect()
    return round(recall(np.array([row.ids for row in rows]), exact_QK), 4)
