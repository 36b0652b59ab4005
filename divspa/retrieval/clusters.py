"""Clusters of an index: training, how many of them a query looks into, and their division over tasks; no Spark.

Vectors of differing length get one more coordinate that makes them equally long (Bachrach et al. 2014), so that the
largest inner product is the smallest angle, which spherical k-means clusters by. Queries get a zero there.
"""

from dataclasses import dataclass

import faiss
import numpy as np
from numpy.typing import NDArray

from divspa.lists import Lists, offsets_of
from divspa.retrieval.kernel import Shard, build_shard, search
from divspa.retrieval.placement import Routes, spread

ITERATIONS = 10


@dataclass(frozen=True)
class Clusters:
    """Numbered centroids of unit length, and the length that all index vectors are brought to."""

    centroids: Shard
    longest: float

    @property
    def count(self) -> int:
        return self.centroids.rows

    def nearest(self, vectors_ND: NDArray[np.float32]) -> NDArray[np.int64]:
        """The cluster of each index vector (N,)."""
        return search(self.centroids, _lengthened(vectors_ND, self.longest), 1).ids_M

    def order(self, queries_ND: NDArray[np.float32], count: int) -> NDArray[np.int64]:
        """The `count` clusters, or all, that promise most for each query, best first (N, count)."""
        zeros_N1 = np.zeros((len(queries_ND), 1), np.float32)
        best = search(self.centroids, np.hstack([queries_ND, zeros_N1]), count)
        return best.ids_M.reshape(len(queries_ND), min(count, self.count))


@dataclass(frozen=True)
class ClusterPlacement:
    """Clusters divided over slots; a query goes where its nearest clusters lie.

    `sizes_C` counts the rows of each cluster; `pieces` lists the slots of each cluster, which share its rows by id.
    """

    clusters: Clusters
    sizes_C: NDArray[np.int64]
    pieces: Lists
    nprobe: int
    slots: int
    clustered: bool = True

    def place(self, ids_N: NDArray[np.int64], vectors_ND: NDArray[np.float32]) -> Routes:
        cluster_N = self.clusters.nearest(vectors_ND)
        among_N = np.empty(len(ids_N), np.int64)
        for pieces in np.unique(self.pieces.lengths[cluster_N]):
            rows = np.flatnonzero(self.pieces.lengths[cluster_N] == pieces)
            among_N[rows] = spread(ids_N[rows], int(pieces))
        slots_N = self.pieces.values_M[self.pieces.offsets_N1[cluster_N] + among_N]
        own_cluster = Lists(np.arange(len(ids_N) + 1), cluster_N.astype(np.int32))
        return Routes(np.arange(len(ids_N)), slots_N, own_cluster)

    def route(self, ids_N: NDArray[np.int64], vectors_ND: NDArray[np.float32], wanted_N: NDArray[np.int64]) -> Routes:
        probes = probed(self.clusters, self.sizes_C, vectors_ND, wanted_N, self.nprobe)
        pieces = self.pieces.take(probes.values_M)
        delivery_M = np.repeat(probes.owners, pieces.lengths) * self.slots + pieces.values_M
        # Two pieces of one cluster in one slot are one list there, which `unique` sees to.
        visits_M = np.unique(delivery_M * self.clusters.count + np.repeat(probes.values_M, pieces.lengths))
        delivery_R, lengths_R = np.unique(visits_M // self.clusters.count, return_counts=True)
        named = Lists(offsets_of(lengths_R), (visits_M % self.clusters.count).astype(np.int32))
        return Routes(delivery_R // self.slots, delivery_R % self.slots, named)


def train(sample_ND: NDArray[np.float32], clusters: int, longest: float, seed: int) -> Clusters:
    """Spherical k-means over a sample of the index; fewer clusters when the sample is smaller. Runs on the driver."""
    points_ND = _lengthened(sample_ND, longest)
    count, width = points_ND.shape
    kmeans = faiss.Kmeans(
        width,
        min(clusters, count),
        niter=ITERATIONS,
        spherical=True,
        seed=seed,
        min_points_per_centroid=1,
        max_points_per_centroid=count,
    )
    kmeans.train(points_ND)
    return _numbered(np.unique(np.asarray(kmeans.centroids) + np.float32(0), axis=0), longest)


def only(clusters: Clusters, kept_K: NDArray[np.int64]) -> Clusters:
    """These clusters, numbered anew from 0."""
    return _numbered(clusters.centroids.vectors_UD[kept_K], clusters.longest)


def _numbered(centroids_CD: NDArray[np.float32], longest: float) -> Clusters:
    return Clusters(build_shard(np.arange(len(centroids_CD)), centroids_CD), longest)


def probed(
    clusters: Clusters,
    sizes_C: NDArray[np.int64],
    queries_ND: NDArray[np.float32],
    wanted_N: NDArray[np.int64],
    nprobe: int,
) -> Lists:
    """The clusters each query looks into: the nearest `nprobe`, and more until they hold the rows it wants."""
    order_NP = clusters.order(queries_ND, nprobe)
    short_N = sizes_C[order_NP].sum(axis=1) < wanted_N
    order_SC = clusters.order(queries_ND[short_N], clusters.count)
    missing_SC = np.cumsum(sizes_C[order_SC], axis=1) < wanted_N[short_N, None]
    counts_N = np.full(len(queries_ND), order_NP.shape[1])
    counts_N[short_N] = np.minimum(missing_SC.sum(axis=1) + 1, clusters.count)
    probes = Lists(offsets_of(counts_N), np.empty(counts_N.sum(), np.int64))
    of_short_M = short_N[probes.owners]
    probes.values_M[~of_short_M] = order_NP[~short_N].ravel()
    probes.values_M[of_short_M] = order_SC[np.arange(clusters.count) < counts_N[short_N, None]]
    return probes


def probes_needed(order_QC: NDArray[np.int64], found: Lists, floor: float) -> int:
    """The smallest nprobe at which the mean recall over Q queries reaches the floor.

    `found` lists the clusters of each query's exact results; a result is recalled when its cluster is probed, because
    the search inside probed clusters is exact.
    """
    recall_C = recall_by_nprobe(order_QC, found)
    return int(np.searchsorted(recall_C, floor)) + 1 if recall_C[-1] >= floor else order_QC.shape[1]


def recall_by_nprobe(order_QC: NDArray[np.int64], found: Lists) -> NDArray[np.float64]:
    """The mean recall over Q queries with 1, 2, … C probed clusters."""
    answered = np.count_nonzero(found.lengths)
    place_QC = np.argsort(order_QC, axis=1)
    places_M = place_QC[found.owners, found.values_M]
    weights_M = 1.0 / (found.lengths[found.owners] * max(answered, 1))
    recall_C = np.cumsum(np.bincount(places_M, weights_M, minlength=order_QC.shape[1]))
    return np.minimum(recall_C, 1.0) if answered else np.ones(order_QC.shape[1])


def _lengthened(vectors_ND: NDArray[np.float32], longest: float) -> NDArray[np.float32]:
    """Vectors with the coordinate that brings them to the length `longest` (N, D + 1)."""
    squares_N = (vectors_ND.astype(np.float64) ** 2).sum(axis=1)
    missing_N = np.sqrt(np.maximum(longest**2 - squares_N, 0)).astype(np.float32)
    return np.hstack([vectors_ND, missing_N[:, None]])
