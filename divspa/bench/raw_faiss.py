"""FAISS by itself in a process by itself: `python -m divspa.bench.raw_faiss '{"users": PATH, …}'` prints JSON.

The same kind of index as divspa used (flat, or IVF with as many clusters and probes), with a thread for each core.
Reading the vectors is not timed; training, adding and searching are.
"""

import json
import resource
import sys
import time

import faiss
import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

CHECKED = 1000


def run(users: str, items: str, top_k: int, threads: int, clusters: int, nprobe: int, exact: str) -> dict[str, float]:
    """Search, and save the exact results of the first queries to the file `exact` (npy, int64)."""
    faiss.omp_set_num_threads(threads)
    queries_ND, vectors_MD = read_vectors(users), read_vectors(items)
    started, cpu = time.perf_counter(), time.process_time()
    index = built(vectors_MD, clusters, nprobe)
    _, found_NK = index.search(queries_ND, top_k)
    cost = {"seconds": time.perf_counter() - started, "cpu_seconds": time.process_time() - cpu}
    flat = built(vectors_MD, 0, 0)
    _, exact_QK = flat.search(queries_ND[:CHECKED], top_k)
    np.save(exact, exact_QK)
    cost["recall"] = recall(found_NK[:CHECKED], exact_QK)
    return cost | {"peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6}


def recall(found_QK: NDArray[np.int64], exact_QK: NDArray[np.int64]) -> float:
    """The share of exact results that were found."""
    hits = [len(np.intersect1d(f, e)) / len(e) for f, e in zip(found_QK, exact_QK, strict=True)]
    return float(np.mean(hits))


def read_vectors(path: str) -> NDArray[np.float32]:
    """Vectors in ascending order of id, so that a row's number is its id."""
    table = pq.read_table(path, columns=["id", "vector"]).combine_chunks()
    order = np.argsort(table["id"].to_numpy())
    values = table["vector"].chunk(0).flatten().to_numpy()
    return np.ascontiguousarray(values.reshape(len(order), -1)[order])


def built(vectors_MD: NDArray[np.float32], clusters: int, nprobe: int) -> faiss.Index:
    """A flat index without clusters, else IVF, by inner product."""
    dim = vectors_MD.shape[1]
    if not clusters:
        index = faiss.IndexFlatIP(dim)
    else:
        index = faiss.IndexIVFFlat(faiss.IndexFlatIP(dim), dim, clusters, faiss.METRIC_INNER_PRODUCT)
        index.cp.spherical = True
        index.cp.max_points_per_centroid = 40
        index.train(vectors_MD)
        index.nprobe = nprobe
    index.add(vectors_MD)
    return index


if __name__ == "__main__":
    print(json.dumps(run(**json.loads(sys.argv[1]))))
