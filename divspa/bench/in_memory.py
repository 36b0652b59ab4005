"""The augmentation as one would write it for one machine: FAISS and numpy in one process, no Spark and no Delta.

`python -m divspa.bench.in_memory FILE`, FILE holding the arguments of `run` as JSON, reads the Parquet files of the
stage's tables, holds everything in memory, writes one Parquet file and prints JSON. The searches use FAISS's own
indexes with a thread for each core; sampling and weights are divspa's numpy functions, so that the rows can be
compared.
"""

import json
import resource
import sys
import time
from pathlib import Path

import faiss
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from divspa.arrow import lists_of, matrix
from divspa.augmentation.catalogue import Catalogue, among
from divspa.augmentation.pairs import PAIR, Draws, as_rows, pair_candidates, sample_pairs
from divspa.augmentation.states import Found, UserStates, found_in_pools, pooled
from divspa.bench.raw_faiss import built
from divspa.config import DivSPA
from divspa.lists import Lists, offsets_of

SPARE = 3
USERS_AT_ONCE = 1000
QUERIES_AT_ONCE = 16_384


def run(
    tables: dict[str, list[str]], out: str, threads: int, clusters: int, nprobe: int, seed: int, day: int
) -> dict[str, float]:
    """Augment with the default settings, files to file; `clusters` (0: exact) and `nprobe` are those of u2u."""
    faiss.omp_set_num_threads(threads)
    started, settings = time.perf_counter(), DivSPA()
    read = {name: pa.concat_tables(map(pq.read_table, files)).combine_chunks() for name, files in tables.items()}
    catalogue = _catalogue(read["item_embeddings"], read["examples"]["item_index"].to_numpy(), settings)
    users, examples = _ordered(read["user_embeddings"], "user_key"), _ordered(read["examples"], "user_key")
    clicked = lists_of(_ordered(read["user_features"], "user_key")["clicked"].chunk(0))
    vectors_UD, keys_U = matrix(users["vector"].chunk(0)), users["user_key"].to_numpy()
    nearest_UN = _neighbours(vectors_UD, settings.top_k_users, clusters, nprobe)
    flat = built(catalogue.vectors_VD[catalogue.addable_A], 0, 0)
    ends_U1 = np.searchsorted(examples["user_key"].to_numpy(), np.append(keys_U, keys_U[-1] + 1))
    draws, writer = Draws(settings, seed, day), None
    for start in range(0, len(keys_U), USERS_AT_ONCE):
        block = np.arange(start, min(start + USERS_AT_ONCE, len(keys_U)))
        states = _states(block, vectors_UD, clicked, nearest_UN, catalogue, flat, settings.top_k)
        first, last = ends_U1[start], ends_U1[block[-1] + 1]
        pairs = examples.slice(first, last - first).select(PAIR).combine_chunks().to_batches()[0]
        state_N = np.repeat(np.arange(len(block)), np.diff(ends_U1[start : block[-1] + 2]))
        candidates = pair_candidates(states, state_N, pairs, catalogue, settings)
        for draw in range(settings.draws):
            rows = as_rows(pairs, sample_pairs(candidates, catalogue, draws, draw), draw, catalogue)
            writer = writer or pq.ParquetWriter(out, rows.schema)
            writer.write_batch(rows)
    if writer:
        writer.close()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return {"seconds": time.perf_counter() - started, "cpu_seconds": time.process_time(), "peak_gb": peak}


def _ordered(table: pa.Table, column: str) -> pa.Table:
    return table.take(pa.array(np.argsort(table[column].to_numpy(), kind="stable"))).combine_chunks()


def _catalogue(items: pa.Table, clicks_N: NDArray[np.int32], settings: DivSPA) -> Catalogue:
    items = _ordered(items, "item_index")
    index = items["item_index"].to_numpy().astype(np.int64)
    vectors = matrix(items["vector"].chunk(0))
    vectors_VD = np.zeros((index[-1] + 1, vectors.shape[1]), np.float32)
    vectors_VD[index] = vectors
    names = np.full(len(vectors_VD), "", object)
    names[index] = items["item_id"].to_numpy()
    width = settings.top_k * SPARE
    nearest_VW, scores_VW = np.zeros((len(vectors_VD), width), np.int32), np.zeros((len(vectors_VD), width), np.float32)
    scores, found = built(vectors, 0, 0).search(vectors, width + 1)
    itself = Lists(np.arange(len(index) + 1), np.arange(len(index)))
    rows, kept = _first_new(found, scores, itself, width, len(index))
    nearest_VW[index], scores_VW[index] = np.where(rows >= 0, index[rows], 0), kept
    popularity_V, discount = np.bincount(clicks_N, minlength=len(vectors_VD)), settings.popularity_discount
    item_ids = pa.array(names, pa.string())
    return Catalogue(item_ids, vectors_VD, index, popularity_V, discount, nearest_VW, scores_VW)


def _neighbours(vectors_UD: NDArray[np.float32], count: int, clusters: int, nprobe: int) -> NDArray[np.int64]:
    index = built(vectors_UD, clusters, nprobe)
    found_UN = np.empty((len(vectors_UD), count + 1), np.int64)
    for start in range(0, len(vectors_UD), QUERIES_AT_ONCE):
        part = slice(start, start + QUERIES_AT_ONCE)
        found_UN[part] = index.search(vectors_UD[part], count + 1)[1]
    itself = Lists(np.arange(len(vectors_UD) + 1), np.arange(len(vectors_UD)))
    return _first_new(found_UN, np.zeros(found_UN.shape, np.float32), itself, count, len(vectors_UD))[0]


def _states(
    block: NDArray[np.int64],
    vectors_UD: NDArray[np.float32],
    clicked: Lists,
    nearest_UN: NDArray[np.int64],
    catalogue: Catalogue,
    flat: faiss.Index,
    k: int,
) -> UserStates:
    """The candidates of a block of users, along u2i and u2u2i."""
    own, index = clicked.take(block), catalogue.addable_A
    scores, rows = flat.search(vectors_UD[block], min(k + int(own.lengths.max(initial=0)), len(index)))
    found, kept = _first_new(np.where(rows >= 0, index[rows], -1), scores, own, k, catalogue.size)
    real = found >= 0
    u2i = Found(_without_padding(found, real), _without_padding(kept, real), np.zeros(len(block), np.int64))
    edges = nearest_UN[block]
    theirs = clicked.take(edges[edges >= 0])
    pools = pooled(theirs, np.repeat(np.arange(len(block)), (edges >= 0).sum(axis=1)), len(block), catalogue.size)
    return UserStates(
        vectors_UD[block], own, {"u2i": u2i, "u2u2i": found_in_pools(pools, vectors_UD[block], own, catalogue, k)}
    )


def _first_new(
    ids_NW: NDArray[np.int64], scores_NW: NDArray[np.float32], known: Lists, k: int, size: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The first k ids of each row that are not in the row's list of `known`, and their scores; -1 pads."""
    new_NW = ~among(ids_NW, np.arange(len(ids_NW))[:, None], known, size) & (ids_NW >= 0)
    offsets = offsets_of(new_NW.sum(axis=1))
    return Lists(offsets, ids_NW[new_NW]).padded(-1, k), Lists(offsets, scores_NW[new_NW]).padded(0, k)


def _without_padding(values_NK: NDArray, real_NK: NDArray[np.bool_]) -> Lists:
    return Lists(offsets_of(real_NK.sum(axis=1)), values_NK[real_NK])


if __name__ == "__main__":
    print(json.dumps(run(**json.loads(Path(sys.argv[1]).read_text()))))
