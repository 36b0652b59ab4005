"""Search with hnswlib in one process; run by the Python of its own environment, prints JSON.

Usage: python hnsw.py FOLDER RECALL THREADS, where the folder holds items.npy, users.npy and the exact ids of the first
users, exact_ids.npy. The graph has hnswlib's own defaults; `ef` is doubled until the recall is reached.
"""

# pyright: reportMissingImports=false, reportMissingModuleSource=false
import json
import sys
import time
from pathlib import Path

import hnswlib
import numpy as np


def main(folder: Path, wanted: float, threads: int) -> dict[str, float]:
    """Seconds to build and to search all users, with the recall that was reached."""
    items_MD, users_ND, exact_QK = (np.load(folder / f"{name}.npy") for name in ("items", "users", "exact_ids"))
    started = time.perf_counter()
    index = hnswlib.Index(space="ip", dim=items_MD.shape[1])
    index.init_index(max_elements=len(items_MD), M=16, ef_construction=200)
    index.add_items(items_MD, num_threads=threads)
    built = time.perf_counter()
    queries, k = exact_QK.shape
    ef, recall = k, 0.0
    while recall < wanted and ef < len(items_MD):
        ef *= 2
        index.set_ef(ef)
        found_QK, _ = index.knn_query(users_ND[:queries], k, num_threads=threads)
        recall = float(np.mean([len(np.intersect1d(f, e)) / k for f, e in zip(found_QK, exact_QK)]))  # noqa: B905
    tuned = time.perf_counter()
    index.knn_query(users_ND, k, num_threads=threads)
    searched = time.perf_counter()
    return {"build_seconds": built - started, "search_seconds": searched - tuned, "recall": recall, "ef": ef}


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]))))
