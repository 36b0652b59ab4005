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
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import faiss
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from divspa.arrow import lists_of, matrix
from divspa.augmentation.catalogue import Catalogue, Complete, Neighbours
from divspa.augmentation.pairs import PAIR, Draws, as_rows, pair_candidates, sample_pairs
from divspa.augmentation.pools import among, best_of_pools, dots, pooled
from divspa.augmentation.settings import DivSPA
from divspa.augmentation.states import Found, UserStates
from divspa.augmentation.ways.registry import chosen_ways
from divspa.bench.raw_faiss import built
from divspa.lists import Lists, offsets_of

SPARE = 3
USERS_AT_ONCE = 1000
QUERIES_AT_ONCE = 16_384


@dataclass(frozen=True)
class Log:
    """Everything in memory: U users in the order of their keys with what they clicked, and the items.

    A search of a way looks into `probes` of `clusters`, or where these are 0 into everything.
    """

    users_UD: NDArray[np.float32]
    clicked: Lists
    catalogue: Catalogue
    settings: DivSPA
    clusters: int
    probes: dict[str, int]


OfUsers = Callable[[NDArray[np.int64]], Found]


def run(
    tables: dict[str, list[str]], out: str, threads: int, clusters: int, probes: dict[str, int], seed: int, day: int
) -> dict[str, float]:
    """Augment with the default settings, files to file."""
    faiss.omp_set_num_threads(threads)
    started, settings = time.perf_counter(), DivSPA()
    read = {name: pa.concat_tables(map(pq.read_table, files)).combine_chunks() for name, files in tables.items()}
    catalogue = _catalogue(read["item_embeddings"], read["examples"]["item_index"].to_numpy())
    users, examples = _ordered(read["user_embeddings"], "user_key"), _ordered(read["examples"], "user_key")
    clicked = lists_of(_ordered(read["user_features"], "user_key")["clicked"].chunk(0))
    log = Log(matrix(users["vector"].chunk(0)), clicked, catalogue, settings, clusters, probes)
    ways = chosen_ways(settings)
    near = {name: OF_ITEMS[name](log, way.complete) for name, way in ways.items() if way.start == "item"}
    of_users = {name: OF_USERS[name](log) for name, way in ways.items() if way.start == "user"}
    catalogue, keys_U = replace(catalogue, neighbours=near), users["user_key"].to_numpy()
    ends_U1 = np.searchsorted(examples["user_key"].to_numpy(), np.append(keys_U, keys_U[-1] + 1))
    draws, writer = Draws(settings, {name: way.number for name, way in ways.items()}, seed, day), None
    for start in range(0, len(keys_U), USERS_AT_ONCE):
        block = np.arange(start, min(start + USERS_AT_ONCE, len(keys_U)))
        by_way = {name: find(block) for name, find in of_users.items()}
        states = UserStates(log.users_UD[block], clicked.take(block), by_way)
        first, last = ends_U1[start], ends_U1[block[-1] + 1]
        pairs = examples.slice(first, last - first).select(PAIR).combine_chunks().to_batches()[0]
        state_N = np.repeat(np.arange(len(block)), np.diff(ends_U1[start : block[-1] + 2]))
        candidates = pair_candidates(states, state_N, pairs, catalogue, draws)
        for draw in range(settings.draws):
            rows = as_rows(pairs, sample_pairs(candidates, catalogue, draws, draw), draw, catalogue, draws)
            writer = writer or pq.ParquetWriter(out, rows.schema)
            writer.write_batch(rows)
    if writer:
        writer.close()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return {"seconds": time.perf_counter() - started, "cpu_seconds": time.process_time(), "peak_gb": peak}


def _ordered(table: pa.Table, column: str) -> pa.Table:
    return table.take(pa.array(np.argsort(table[column].to_numpy(), kind="stable"))).combine_chunks()


def _catalogue(items: pa.Table, clicks_N: NDArray[np.int32]) -> Catalogue:
    items = _ordered(items, "item_index")
    index = items["item_index"].to_numpy().astype(np.int64)
    vectors = matrix(items["vector"].chunk(0))
    vectors_VD = np.zeros((index[-1] + 1, vectors.shape[1]), np.float32)
    vectors_VD[index] = vectors
    names = np.full(len(vectors_VD), "", object)
    names[index] = items["item_id"].to_numpy()
    popularity_V = np.bincount(clicks_N, minlength=len(vectors_VD))
    return Catalogue(pa.array(names, pa.string()), vectors_VD, index[popularity_V[index] > 0], popularity_V)


def _i2i(log: Log, complete: Complete | None) -> Neighbours:
    catalogue, index, width = log.catalogue, log.catalogue.addable_A, log.settings.top_k * SPARE
    vectors_AD = catalogue.vectors_VD[index]
    scores, found = built(vectors_AD, 0, 0).search(vectors_AD, width + 1)
    itself = Lists(np.arange(len(index) + 1), np.arange(len(index)))
    rows, kept = _first_new(found, scores, itself, width, len(index))
    ids_VW, scores_VW = np.zeros((catalogue.size, width), np.int32), np.zeros((catalogue.size, width), np.float32)
    ids_VW[index], scores_VW[index] = np.where(rows >= 0, index[rows], 0), kept
    return Neighbours(ids_VW, scores_VW, complete)


def _u2i(log: Log) -> OfUsers:
    index, k = log.catalogue.addable_A, log.settings.top_k
    flat = built(log.catalogue.vectors_VD[index], 0, 0)

    def find(block: NDArray[np.int64]) -> Found:
        own = log.clicked.take(block)
        scores, rows = flat.search(log.users_UD[block], min(k + int(own.lengths.max(initial=0)), len(index)))
        found, kept = _first_new(np.where(rows >= 0, index[rows], -1), scores, own, k, log.catalogue.size)
        real = found >= 0
        return Found(_without_padding(found, real), _without_padding(kept, real), np.zeros(len(block), np.int64))

    return find


def _u2u2i(log: Log) -> OfUsers:
    probes, count, size = log.probes["u2u2i"], log.settings.top_k_users, log.catalogue.size
    nearest_UN = _neighbours(log.users_UD, count, log.clusters if probes else 0, probes)

    def find(block: NDArray[np.int64]) -> Found:
        edges, own = nearest_UN[block], log.clicked.take(block)
        theirs = log.clicked.take(edges[edges >= 0])
        pools, _ = pooled(theirs, np.repeat(np.arange(len(block)), (edges >= 0).sum(axis=1)), len(block), size)
        pools = pools.keep(~among(pools.values_M, pools.owners, own, size))
        scores_P = dots(log.users_UD[block], pools, log.catalogue.vectors_VD)
        return Found(*best_of_pools(pools, scores_P, log.settings.top_k), np.zeros(len(block), np.int64))

    return find


OF_ITEMS: dict[str, Callable[[Log, Complete | None], Neighbours]] = {"i2i": _i2i}
OF_USERS: dict[str, Callable[[Log], OfUsers]] = {"u2i": _u2i, "u2u2i": _u2u2i}


def _neighbours(vectors_UD: NDArray[np.float32], count: int, clusters: int, nprobe: int) -> NDArray[np.int64]:
    index = built(vectors_UD, clusters, nprobe)
    found_UN = np.empty((len(vectors_UD), count + 1), np.int64)
    for start in range(0, len(vectors_UD), QUERIES_AT_ONCE):
        part = slice(start, start + QUERIES_AT_ONCE)
        found_UN[part] = index.search(vectors_UD[part], count + 1)[1]
    itself = Lists(np.arange(len(vectors_UD) + 1), np.arange(len(vectors_UD)))
    return _first_new(found_UN, np.zeros(found_UN.shape, np.float32), itself, count, len(vectors_UD))[0]


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
