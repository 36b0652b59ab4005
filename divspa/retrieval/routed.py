"""Approximate search of millions in millions: each query goes only where its nearest clusters lie.

Every result inside the probed clusters is exact, so recall depends on `nprobe` alone. One pass over the index finds the
exact results of a sample of queries and the clusters that hold them; from these follow the smallest nprobe that
reaches the floor, and the recall it has.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import safetensors.numpy
from numpy.typing import NDArray
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from divspa.errors import TrainingError
from divspa.lists import Lists
from divspa.retrieval.clusters import ClusterPlacement, Clusters, only, probes_needed, recall_by_nprobe, train
from divspa.retrieval.columns import ids_from, lists_from, vectors_from
from divspa.retrieval.failures import worker_errors
from divspa.retrieval.inputs import Request
from divspa.retrieval.kernel import TopK, best_of, build_shard, joined, search
from divspa.retrieval.layout import divide
from divspa.retrieval.settings import SearchSettings
from divspa.retrieval.worker import start_task

POINTS_PER_CLUSTER = 40
ROWS_PER_CLUSTER = 32
SHARES = 2**20


@dataclass(frozen=True)
class Sample:
    """Q queries whose exact results are found for comparison."""

    vectors_QD: NDArray[np.float32]
    exclude: Lists
    k: int


@dataclass(frozen=True)
class Survey:
    """What one pass over (a part of) the index finds: rows of each cluster, and the sample's exact results.

    `clusters_M` holds the cluster of each result in `best`.
    """

    sizes_C: NDArray[np.int64]
    best: TopK
    clusters_M: NDArray[np.int64]

    def to_bytes(self) -> bytes:
        arrays = {"sizes": self.sizes_C, "clusters": self.clusters_M, **vars(self.best)}
        return safetensors.numpy.save({name: np.ascontiguousarray(array) for name, array in arrays.items()})

    @classmethod
    def from_bytes(cls, packed: bytes) -> "Survey":
        arrays = safetensors.numpy.load(bytes(packed))  # Spark gives a bytearray
        sizes_C, clusters_M = arrays.pop("sizes"), arrays.pop("clusters")
        return cls(sizes_C, TopK(**arrays), clusters_M)


@dataclass(frozen=True)
class Routing:
    """Clusters that hold rows, their sizes, and the nprobe to use with the recall that the sample measured for it."""

    clusters: Clusters
    sizes_C: NDArray[np.int64]
    nprobe: int
    recall: float

    def placement(self, slots: int) -> ClusterPlacement:
        pieces = divide(self.clusters.centroids.vectors_UD, self.sizes_C, slots)
        return ClusterPlacement(self.clusters, self.sizes_C, pieces, self.nprobe, slots)


def plan_routing(request: Request, settings: SearchSettings) -> Routing:
    """Train clusters, survey the index and choose nprobe.

    Raises TrainingError when the recall with a given nprobe is below the floor.
    """
    clusters = _train(request, settings)
    sample = _sample(request, settings)
    survey = _survey(request.index, clusters, sample)
    filled_C = np.flatnonzero(survey.sizes_C)
    clusters = only(clusters, filled_C)
    order_QC = clusters.order(sample.vectors_QD, clusters.count)
    found = Lists(survey.best.offsets_N1, np.searchsorted(filled_C, survey.clusters_M))
    # Aim a quarter of the way above the floor, since another sample would measure a little more or less.
    target = settings.recall_floor + (1 - settings.recall_floor) / 4
    nprobe = min(settings.nprobe, clusters.count) or probes_needed(order_QC, found, target)
    recall = float(recall_by_nprobe(order_QC, found)[nprobe - 1])
    if recall < settings.recall_floor:
        raise TrainingError(
            "An approximate search misses its recall",
            expected=f"recall@{request.k} of {settings.recall_floor} or more",
            found=f"{recall:.4f} on {len(sample.vectors_QD)} queries with nprobe {nprobe} of {clusters.count} clusters",
            remedy="leave nprobe at 0, which tunes it, or use an exact plan",
        )
    return Routing(clusters, survey.sizes_C[filled_C], nprobe, recall)


def default_clusters(rows: int) -> int:
    """Four times the square root of the rows, as FAISS advises, and at least some rows in each."""
    return max(1, min(int(4 * rows**0.5), rows // ROWS_PER_CLUSTER))


def _train(request: Request, settings: SearchSettings) -> Clusters:
    sizes = request.sizes
    clusters = settings.clusters or default_clusters(sizes.rows)
    share = min(1.0, POINTS_PER_CLUSTER * clusters / sizes.rows)
    chosen = F.pmod(F.xxhash64("id", F.lit(settings.seed)), F.lit(SHARES)) < int(share * SHARES)
    with worker_errors():
        table = request.index.where(chosen).toArrow()
    ids_N = ids_from(table["id"].combine_chunks())
    vectors_ND = vectors_from(table["vector"].combine_chunks(), sizes.dim)
    return train(vectors_ND[np.argsort(ids_N, kind="stable")], clusters, sizes.longest, settings.seed)


def _sample(request: Request, settings: SearchSettings) -> Sample:
    """Queries chosen by a hash of their id. Zero vectors are left out: every answer to them is equally right."""
    chosen = request.queries.orderBy(F.xxhash64("id", F.lit(settings.seed)), "id").limit(settings.recall_sample)
    with worker_errors():
        table = chosen.toArrow()
    ids_Q = ids_from(table["id"].combine_chunks())
    vectors_QD = vectors_from(table["vector"].combine_chunks(), request.sizes.dim)
    exclude = lists_from(table["exclude"].combine_chunks())
    exclude = exclude.append(ids_Q) if request.exclude_self else exclude
    useful = np.flatnonzero(vectors_QD.any(axis=1))
    return Sample(vectors_QD[useful], exclude.take(useful), request.k)


def _survey(index: DataFrame, clusters: Clusters, sample: Sample) -> Survey:
    shared = index.sparkSession.sparkContext.broadcast((clusters, sample))
    with worker_errors():
        parts = index.mapInArrow(lambda batches: _survey_batches(batches, *shared.value), "survey binary").collect()
    return _combined([Survey.from_bytes(part.survey) for part in parts], sample.k)


def _survey_batches(batches: Iterable[pa.RecordBatch], clusters: Clusters, sample: Sample) -> Iterator[pa.RecordBatch]:
    """One Survey, as bytes, a partition, which is read batch by batch and never held whole."""
    start_task()
    total: Survey | None = None
    for batch in filter(len, batches):
        ids_N, vectors_ND = ids_from(batch["id"]), vectors_from(batch["vector"], sample.vectors_QD.shape[1])
        cluster_N = clusters.nearest(vectors_ND)
        best = search(build_shard(ids_N, vectors_ND), sample.vectors_QD, sample.k, sample.exclude)
        sizes_C = np.bincount(cluster_N, minlength=clusters.count)
        found = Survey(sizes_C, best, _looked_up(best.ids_M, ids_N, cluster_N))
        total = found if total is None else _combined([total, found], sample.k)
    if total is not None:
        yield pa.RecordBatch.from_arrays([pa.array([total.to_bytes()], pa.binary())], ["survey"])


def _combined(parts: list[Survey], k: int) -> Survey:
    best = best_of(joined([part.best for part in parts]), k)
    ids_M = np.concatenate([part.best.ids_M for part in parts])
    clusters_M = np.concatenate([part.clusters_M for part in parts])
    sizes_C = np.sum([part.sizes_C for part in parts], axis=0)
    return Survey(sizes_C, best, _looked_up(best.ids_M, ids_M, clusters_M))


def _looked_up(wanted_M: NDArray[np.int64], ids_N: NDArray[np.int64], values_N: NDArray[np.int64]) -> NDArray[np.int64]:
    """The value of each wanted id."""
    order_N = np.argsort(ids_N)
    return values_N[order_N[np.searchsorted(ids_N, wanted_M, sorter=order_N)]]
