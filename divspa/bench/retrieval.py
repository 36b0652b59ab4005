"""How fast and how right top-k search is, beside FAISS by itself and, as peers, Spark's own ALSModel and hnswlib."""

import json
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pyspark.ml.recommendation import ALS, ALSModel
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from divspa.bench.measure import Cost, in_child, measured, reference
from divspa.bench.peers import peer_python, run_peer
from divspa.bench.raw_faiss import CHECKED, read_vectors, recall
from divspa.bench.vectors import Embeddings
from divspa.errors import ConfigError
from divspa.lake.session import spark_session
from divspa.lake.settings import Spark
from divspa.retrieval import SearchReport, SearchSettings, search

Plan = Literal["auto", "broadcast", "sharded", "routed"]
PEERS = ("als", "hnswlib")


@dataclass(frozen=True)
class Asked:
    """A search to measure; `peer_users` of 0 gives Spark's ALS and hnswlib all the queries."""

    users: int
    items: int
    dim: int
    top_k: int
    plan: Plan = "auto"
    recall_floor: float = 0.98
    peer_users: int = 0
    scaling: bool = False
    seed: int = 17

    @property
    def settings(self) -> SearchSettings:
        return SearchSettings(plan=self.plan, recall_floor=self.recall_floor, seed=self.seed)


def bench_retrieval(asked: Asked, peers: list[str]) -> dict[str, Any]:
    """Search the best of the items for each user, beside FAISS by itself and the peers, of `als` and `hnswlib`.

    Ours runs from embeddings in parquet to a committed Delta table, after a small search that warms the workers; the
    recall is that of the table, on other queries than those that nprobe was tuned on. With `scaling`, two workers of
    one core each are compared with one. Raises ConfigError for an unknown peer.
    """
    if unknown := sorted(set(peers) - set(PEERS)):
        raise ConfigError(f"No such peer: {', '.join(unknown)}", expected=" or ".join(PEERS))
    spark = spark_session(Spark())
    with tempfile.TemporaryDirectory(prefix="divspa-bench-") as name:
        folder = Path(name)
        _write_embeddings(spark, folder, asked)
        ours, report = searched(spark, folder, asked)
        cores = spark.sparkContext.defaultParallelism
        raw, exact_QK = _raw_faiss(folder, asked.top_k, cores, report)
        theirs = {"raw_faiss": raw}
        if "als" in peers:
            theirs["als"] = _als(spark, folder, asked)
        if "hnswlib" in peers:
            theirs["hnswlib"] = _hnswlib(folder, asked, cores, exact_QK)
        result = {
            "bench": "retrieval",
            "sizes": {
                "users": asked.users,
                "items": asked.items,
                "dim": asked.dim,
                "top_k": asked.top_k,
                "cores": cores,
            },
            "ours": ours.as_json(asked.users),
            "references": {peer: _line(ours, cost, asked.users) for peer, cost in theirs.items()},
            "recall": _recall_of(spark, folder, exact_QK),
            "recall_tuned": round(report.recall, 4),
            "plan": report.plan,
            "nprobe": report.nprobe,
            "clusters": report.clusters,
            "shards": report.shards,
        }
        return result | ({"scaling": _scaling(spark, folder, asked)} if asked.scaling else {})


def _write_embeddings(spark: SparkSession, folder: Path, asked: Asked) -> None:
    embeddings = Embeddings(asked.dim, asked.seed)
    embeddings.write(spark, str(folder / "users"), asked.users, part=0)
    embeddings.write(spark, str(folder / "items"), asked.items, part=1)


def searched(spark: SparkSession, folder: Path, asked: Asked) -> tuple[Cost, SearchReport]:
    """One whole search to the Delta table `found`, after a tiny one that starts a worker on every core."""
    users, items = (spark.read.parquet(str(folder / side)) for side in ("users", "items"))
    few = items.limit(1000).repartition(4 * spark.sparkContext.defaultParallelism, "id")
    _write(search(few, few, 1)[0], folder)
    with measured() as cost:
        found, report = search(users, items, asked.top_k, asked.settings)
        _write(found, folder)
    return cost, report


def _write(found: DataFrame, folder: Path) -> None:
    found.write.format("delta").mode("overwrite").save(str(folder / "found"))


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
    return in_child("raw_faiss", json.dumps(asked)), np.load(exact)


def _als(spark: SparkSession, folder: Path, asked: Asked) -> dict[str, float]:
    """Spark's own all-pairs recommendation with these vectors as factors; the cost is linear in the users.

    The model is saved after a fit of one rating, and its factors are replaced: fitting is not what is compared.
    """
    one = spark.createDataFrame([(0, 0, 1.0)], "user int, item int, rating float")
    path, few = folder / "als", asked.peer_users or asked.users
    ALS(rank=asked.dim, maxIter=1).fit(one).write().overwrite().save(str(path))
    for side, factors, rows in (("users", "userFactors", few), ("items", "itemFactors", asked.items)):
        vectors = spark.read.parquet(str(folder / side)).where(F.col("id") < rows)
        renamed = vectors.select(F.col("id").cast("int").alias("id"), F.col("vector").alias("features"))
        renamed.write.mode("overwrite").parquet(str(path / factors))
    model = ALSModel.load(str(path))
    with measured() as cost:
        model.recommendForAllUsers(asked.top_k).write.format("noop").mode("overwrite").save()
    scaled = cost.seconds * asked.users / few
    return {"seconds": scaled, "users_run": few, "cpu_seconds": cost.cpu_seconds, "peak_gb": cost.peak_gb}


def _hnswlib(folder: Path, asked: Asked, threads: int, exact_QK: np.ndarray) -> dict[str, float]:
    """hnswlib in one process of its own environment, its `ef` raised until it has our floor's recall."""
    searched_users = max(asked.peer_users or asked.users, len(exact_QK))
    np.save(folder / "items.npy", read_vectors(str(folder / "items")))
    np.save(folder / "users.npy", read_vectors(str(folder / "users"))[:searched_users])
    np.save(folder / "exact_ids.npy", exact_QK)
    python = peer_python("hnswlib", ["hnswlib==0.8.0", "numpy<2"])
    said = json.loads(run_peer(python, "hnsw.py", folder, asked.recall_floor, threads))
    seconds = said["build_seconds"] + said.pop("search_seconds") * asked.users / searched_users
    return {"seconds": seconds, "users_run": searched_users, **said}


def _scaling(spark: SparkSession, folder: Path, asked: Asked) -> dict[str, float]:
    """The same search by one worker of one core and by two, on Spark's cluster of processes on this machine."""
    spark.stop()
    seconds = [_seconds_with(folder, asked, workers) for workers in (1, 2)]
    return {"one_worker": seconds[0], "two_workers": seconds[1], "speedup": round(seconds[0] / seconds[1], 3)}


def _seconds_with(folder: Path, asked: Asked, workers: int) -> float:
    return in_child("workers", str(folder), str(workers), json.dumps(asdict(asked)))


def _line(ours: Cost, theirs: dict[str, float], users: int) -> dict[str, float]:
    more = {name: round(value, 4) for name, value in theirs.items() if name != "seconds"}
    return reference(ours.seconds, theirs["seconds"], users, **more)


def _recall_of(spark: SparkSession, folder: Path, exact_QK: np.ndarray) -> float:
    """The recall of the Delta table's first queries."""
    rows = spark.read.format("delta").load(str(folder / "found")).where(F.col("id") < CHECKED).orderBy("id").collect()
    return round(recall(np.array([row.ids for row in rows]), exact_QK), 4)
