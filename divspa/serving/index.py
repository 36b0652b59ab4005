"""The index that is served: exact up to a size, and clusters (IVF) beyond it, with as many probes as a recall needs."""

from collections.abc import Collection
from dataclasses import dataclass

import faiss
import numpy as np

MEASURED_AT = 100
ITERATIONS = 10
# Clusters to the square root of the items; k-means over so many items a cluster.
CLUSTERS, POINTS = 4, 64


@dataclass(frozen=True)
class Built:
    """An index over item_index, and what is said of it: clusters and probes (0 if exact), and its measured recall."""

    index: faiss.Index
    clusters: int
    probes: int
    recall: float


def build_index(
    ids_N: np.ndarray, vectors_ND: np.ndarray, queries_QD: np.ndarray, exact_items: int, floor: float, seed: int
) -> Built:
    """Index items by inner product: exact up to `exact_items`, else clusters and the fewest probes, doubled, that
    reach the recall `floor` over Q users.
    """
    vectors_ND, ids_N = np.ascontiguousarray(vectors_ND, np.float32), ids_N.astype(np.int64)
    flat = exact_index(ids_N, vectors_ND)
    if len(ids_N) <= exact_items or not len(queries_QD):
        return Built(flat, 0, 0, 1.0)
    dim, clusters = vectors_ND.shape[1], int(CLUSTERS * len(ids_N) ** 0.5)
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(dim), dim, clusters, faiss.METRIC_INNER_PRODUCT)
    index.cp.spherical, index.cp.niter, index.cp.seed = True, ITERATIONS, seed
    index.cp.min_points_per_centroid, index.cp.max_points_per_centroid = 1, POINTS
    index.train(vectors_ND)
    index.add_with_ids(vectors_ND, ids_N)
    _, exact_QK = flat.search(queries_QD, min(MEASURED_AT, len(ids_N)))
    index.nprobe = 1
    while (recall := _recall(index, queries_QD, exact_QK)) < floor and index.nprobe < clusters:
        index.nprobe = min(2 * index.nprobe, clusters)
    return Built(index, clusters, index.nprobe, recall)


def exact_index(ids_N: np.ndarray, vectors_ND: np.ndarray) -> faiss.Index:
    """An index that compares with every item."""
    index = faiss.IndexIDMap2(faiss.IndexFlatIP(vectors_ND.shape[1]))
    index.add_with_ids(np.ascontiguousarray(vectors_ND, np.float32), ids_N.astype(np.int64))
    return index


class Searcher:
    """Finds the k best of an index, or of a part of it, less some items: always k where so many are left.

    `ids_N` are the item_index of the part. A part of at most `exact_items` is compared with whole.
    """

    def __init__(self, index: faiss.Index, ids_N: np.ndarray, exact_items: int) -> None:
        self.index, self.chosen = index, None
        self.is_member = np.zeros(int(ids_N.max(initial=0)) + 1, bool)
        self.is_member[ids_N] = True
        self.rows = len(ids_N)
        if self.rows == index.ntotal:
            return
        if self.rows <= exact_items or not isinstance(index, faiss.IndexIVF):
            self.index = exact_index(ids_N, _vectors_of(index, ids_N))
            return
        self.bits = np.packbits(self.is_member, bitorder="little")  # FAISS does not copy it
        self.chosen = faiss.IDSelectorBitmap(len(self.is_member), faiss.swig_ptr(self.bits))

    def search(self, vector_D: np.ndarray, k: int, exclude: Collection[int]) -> tuple[np.ndarray, np.ndarray]:
        """item_index and scores of the k best, best first, equal ones in the order of item_index."""
        out = {item for item in exclude if item < len(self.is_member) and self.is_member[item]}
        left = self.rows - len(out)
        clusters = self.index.nlist if isinstance(self.index, faiss.IndexIVF) else 0
        probes = self.index.nprobe if isinstance(self.index, faiss.IndexIVF) else 0
        while left > 0:
            ids_K, scores_K = self._found(vector_D, min(k, left) + len(out), probes)
            kept_K = np.array([item >= 0 and item not in out for item in ids_K.tolist()], bool)
            if kept_K.sum() >= min(k, left) or probes >= clusters:
                order = np.lexsort((ids_K[kept_K], -scores_K[kept_K]))[:k]
                return ids_K[kept_K][order], scores_K[kept_K][order]
            probes = min(2 * probes, clusters)
        return np.zeros(0, np.int64), np.zeros(0, np.float32)

    def _found(self, vector_D: np.ndarray, depth: int, probes: int) -> tuple[np.ndarray, np.ndarray]:
        query_1D = np.ascontiguousarray(vector_D[None], np.float32)
        if not probes:
            scores_1K, ids_1K = self.index.search(query_1D, depth)
        else:
            asked = faiss.SearchParametersIVF()
            asked.nprobe, asked.sel = probes, self.chosen
            scores_1K, ids_1K = self.index.search(query_1D, depth, params=asked)
        return ids_1K[0], scores_1K[0]


def _vectors_of(index: faiss.Index, ids_N: np.ndarray) -> np.ndarray:
    """The vectors of some items; of an index of clusters through a map of its ids, which is let go again."""
    if not len(ids_N):
        return np.zeros((0, index.d), np.float32)
    clustered = isinstance(index, faiss.IndexIVF)
    if clustered:
        index.set_direct_map_type(faiss.DirectMap.Hashtable)  # pyright: ignore[reportAttributeAccessIssue]
    vectors_ND = index.reconstruct_batch(ids_N.astype(np.int64))
    if clustered:
        index.set_direct_map_type(faiss.DirectMap.NoMap)  # pyright: ignore[reportAttributeAccessIssue]
    return vectors_ND


def _recall(index: faiss.Index, queries_QD: np.ndarray, exact_QK: np.ndarray) -> float:
    _, found_QK = index.search(queries_QD, exact_QK.shape[1])
    hits = [len(np.intersect1d(found, exact)) for found, exact in zip(found_QK, exact_QK, strict=True)]
    return float(np.mean(hits)) / exact_QK.shape[1]
