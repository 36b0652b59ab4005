"""EASE as one would write it for one machine: numpy and scipy in one process, no Spark and no Delta.

`python -m divspa.bench.in_memory_linear FILE`, FILE holding the arguments of `run` as JSON, prints JSON.
"""

import json
import resource
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy import linalg, sparse

from divspa.arrow import lists_of


def run(files: list[str], out: str, items: int, regularisation: float, neighbours: int) -> dict[str, float]:
    """EASE of the most clicked items, the strongest neighbours of each to a file."""
    started = time.perf_counter()
    clicked = lists_of(
        pa.concat_tables(pq.read_table(file, columns=["clicked"]) for file in files)["clicked"].combine_chunks()
    )
    popularity_V = np.bincount(clicked.values_M)
    kept = np.sort(np.argsort(-popularity_V, kind="stable")[:items])
    ones = np.ones(len(clicked.values_M), np.float32)
    clicks = sparse.csr_array((ones, clicked.values_M, clicked.offsets_N1), (len(clicked), len(popularity_V)))[:, kept]
    gram_NN = (clicks.T @ clicks).toarray()
    gram_NN[np.diag_indices(len(kept))] += regularisation
    weights_NN = linalg.inv(gram_NN, overwrite_a=True, check_finite=False)
    weights_NN /= -np.diag(weights_NN)
    np.fill_diagonal(weights_NN, 0)
    most = min(neighbours, len(kept) - 1)
    places_NK = np.argpartition(-np.abs(weights_NN), most - 1, axis=1)[:, :most]
    np.savez(out, neighbours=kept[places_NK], weights=np.take_along_axis(weights_NN, places_NK, 1))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return {"seconds": time.perf_counter() - started, "cpu_seconds": time.process_time(), "peak_gb": peak}


if __name__ == "__main__":
    print(json.dumps(run(**json.loads(Path(sys.argv[1]).read_text()))))
