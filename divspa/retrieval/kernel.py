"""Exact top-k by inner product inside one shard of an index: numpy and FAISS, no Spark.

FAISS proposes candidates in float32; their scores are taken again in float64, in an order of summation that depends on
the dimension only, and rounded to float32. A result is accepted when rounding cannot have hidden a better row behind
the last candidate, and is otherwise found by a scan. So the outcome is the k best by (score descending, id ascending),
whatever the sizes of batches and shards.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import faiss
import numpy as np
from numpy.typing import NDArray

from divspa.errors import ContractError, TrainingError
from divspa.retrieval.lists import Lists, empty_lists, offsets_of
from divspa.retrieval.ordering import NOTHING, first_sorted, keys_of, positions_of, scores_of

MARGIN = 8
BLOCK = 1024
BLAS_FROM = 20
CACHED = 8192
ROUNDING = float(np.finfo(np.float32).eps)
SMALLEST = float(np.finfo(np.float32).tiny)
LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class TopK:
    """For each of N queries the ids of its best rows and their scores, best first."""

    offsets_N1: NDArray[np.int64]
    ids_M: NDArray[np.int64]
    scores_M: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.offsets_N1) - 1


@dataclass(frozen=True)
class Cells:
    """The clusters of a routed shard: FAISS's inverted lists, and the same lists for a scan."""

    clusters_C: NDArray[np.int64]
    rows: Lists
    index: faiss.IndexIVFFlat


@dataclass(frozen=True)
class Shard:
    """Rows of an index that one task holds, in ascending order of id, with equal vectors held once.

    `members` lists the positions (in `ids_N`) of the rows of each distinct vector; None when all vectors differ.
    """

    ids_N: NDArray[np.int64]
    vectors_UD: NDArray[np.float32]
    members: Lists | None
    longest: float
    cells: Cells | None = None

    @property
    def rows(self) -> int:
        return len(self.ids_N)


def one_thread() -> None:
    """Make FAISS use one thread in this process, a Spark task's core, and matrix products for blocks of queries too."""
    faiss.omp_set_num_threads(1)
    # FAISS 1.15 would score blocks below some thousand queries one by one, at a third of the speed.
    faiss.cvar.distance_compute_blas_threshold = BLAS_FROM


def build_shard(
    ids_N: NDArray[np.int64], vectors_ND: NDArray[np.float32], clusters_N: NDArray[np.int64] | None = None
) -> Shard:
    """Order the rows by id and hold equal vectors once; with clusters, a search can be limited to some of them.

    Rows with equal vectors must be in one cluster. Raises ContractError when an id repeats.
    """
    order_N = np.argsort(ids_N, kind="stable")
    ids_N = np.ascontiguousarray(ids_N[order_N])
    if (repeated := ids_N[1:][ids_N[1:] == ids_N[:-1]]).size:
        raise ContractError("The index of a search repeats an id", expected="one row an id", found=f"id {repeated[0]}")
    vectors_ND = np.ascontiguousarray(vectors_ND[order_N], dtype=np.float32)
    first_U, members = _distinct(vectors_ND)
    vectors_UD = vectors_ND if members is None else vectors_ND[first_U]
    longest = float(np.linalg.norm(vectors_UD.astype(np.float64), axis=1).max(initial=0))
    cells = None if clusters_N is None else _build_cells(vectors_UD, clusters_N[order_N][first_U])
    return Shard(ids_N, vectors_UD, members, longest, cells)


def search(
    shard: Shard, queries_ND: NDArray[np.float32], k: int, exclude: Lists | None = None, probes: Lists | None = None
) -> TopK:
    """The k best rows of the shard for each query, without the ids in its list of `exclude`.

    `probes` names for each query the clusters to look into; other rows are then left out. Lists are shorter than k
    only where fewer rows exist. Raises TrainingError when scores overflow float32.
    """
    queries_ND = np.ascontiguousarray(queries_ND, dtype=np.float32)
    count, width = len(queries_ND), min(int(k), shard.rows)
    if not width or not count:
        return TopK(np.zeros(count + 1, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32))
    lengths_N = np.linalg.norm(queries_ND.astype(np.float64), axis=1)
    _require_range(lengths_N, shard)
    excluded = empty_lists(count, np.int64) if exclude is None else _as_positions(exclude, shard)
    keys_Nk = np.empty((count, width), np.uint64)
    for rows_B, depth in _alike(excluded.lengths, lengths_N == 0, width):
        keys_Nk[rows_B] = _search_block(
            shard,
            queries_ND[rows_B],
            width,
            depth,
            slack_B=_slack(lengths_N[rows_B], shard),
            excluded=excluded.take(rows_B),
            probes=None if probes is None else probes.take(rows_B),
        )
    return _decode(keys_Nk, shard.ids_N)


def joined(parts: Sequence[TopK]) -> TopK:
    """For each query its lists of all parts end to end, not merged."""
    owners_M = np.concatenate([np.repeat(np.arange(len(part)), np.diff(part.offsets_N1)) for part in parts])
    order_M = np.argsort(owners_M, kind="stable")
    return TopK(
        np.sum([part.offsets_N1 for part in parts], axis=0),
        np.concatenate([part.ids_M for part in parts])[order_M],
        np.concatenate([part.scores_M for part in parts])[order_M],
    )


def best_of(lists: TopK, k: int) -> TopK:
    """The k best entries of each list, in order: joining lists end to end and calling this merges them."""
    known_P, positions_M = np.unique(lists.ids_M, return_inverse=True)
    keys = Lists(lists.offsets_N1, keys_of(lists.scores_M, positions_M))
    return _decode(first_sorted(keys.padded(NOTHING), k), known_P)


def _distinct(vectors_ND: NDArray[np.float32]) -> tuple[NDArray[np.int64], Lists | None]:
    """The first row of each distinct vector, and the rows of each; None when all vectors differ."""
    count, dim = vectors_ND.shape
    # Two random projections of the bits find rows that may be equal; only those are compared whole.
    bits_ND = (vectors_ND + np.float32(0)).view(np.uint32).astype(np.uint64)
    factors_D = np.random.default_rng(0).integers(1, 2**63, dim, dtype=np.uint64) | np.uint64(1)
    hashes_N = (bits_ND * factors_D).sum(axis=1, dtype=np.uint64)
    if len(np.unique(hashes_N)) == count:
        return np.arange(count), None
    _, first_U, group_N = np.unique(bits_ND.astype(np.uint32), axis=0, return_index=True, return_inverse=True)
    by_group_N = np.argsort(group_N, kind="stable")
    return first_U, Lists(offsets_of(np.bincount(group_N, minlength=len(first_U))), by_group_N)


def _build_cells(vectors_UD: NDArray[np.float32], clusters_U: NDArray[np.int64]) -> Cells:
    clusters_C, cell_U = np.unique(clusters_U, return_inverse=True)
    rows = Lists(offsets_of(np.bincount(cell_U, minlength=len(clusters_C))), np.argsort(cell_U, kind="stable"))
    dim = vectors_UD.shape[1]
    # IVF would measure L2 by default, even over an inner-product quantizer. The quantizer itself is never asked.
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(dim), dim, max(len(clusters_C), 1), faiss.METRIC_INNER_PRODUCT)
    index.is_trained = True
    numbers_U, cell_U = np.arange(len(vectors_UD)), np.ascontiguousarray(cell_U, np.int64)
    index.add_core(len(vectors_UD), faiss.swig_ptr(vectors_UD), faiss.swig_ptr(numbers_U), faiss.swig_ptr(cell_U))
    return Cells(clusters_C, rows, index)


def _require_range(lengths_N: NDArray[np.float64], shard: Shard) -> None:
    largest = float(lengths_N.max()) * shard.longest
    if not largest < LARGEST:
        raise TrainingError(
            "The scores of a search are not finite",
            expected="vectors whose inner products fit float32",
            found=f"vector lengths up to {lengths_N.max():.3g} and {shard.longest:.3g}",
            remedy="look for a diverged training: lower the learning rate",
        )


def _slack(lengths_B: NDArray[np.float64], shard: Shard) -> NDArray[np.float64]:
    """How far a float32 inner product can be from the exact one, for each query (Higham 2002, Section 3.1)."""
    terms = shard.vectors_UD.shape[1] + 2
    return terms * (ROUNDING * lengths_B * shard.longest + SMALLEST)


def _as_positions(exclude: Lists, shard: Shard) -> Lists:
    """Excluded ids as positions in the shard, each once and ascending; ids of other shards fall away."""
    positions_M = np.minimum(np.searchsorted(shard.ids_N, exclude.values_M), shard.rows - 1)
    here = Lists(exclude.offsets_N1, positions_M).keep(shard.ids_N[positions_M] == exclude.values_M)
    pairs_M = np.unique(here.owners * shard.rows + here.values_M)
    lengths_N = np.bincount(pairs_M // shard.rows, minlength=len(exclude))
    return Lists(offsets_of(lengths_N), pairs_M % shard.rows)


def _alike(excluded_N: NDArray[np.int64], zero_N: NDArray[np.bool_], k: int) -> Iterator[tuple[NDArray[np.int64], int]]:
    """Blocks of queries that exclude similarly many rows, with the candidates to fetch; zero vectors are apart.

    One heavy user would otherwise make the search of a whole block deep.
    """
    class_N = np.where(zero_N, -1, np.ceil(np.log2(excluded_N + 1) / 2)).astype(np.int64)
    for wanted in np.unique(class_N):
        rows = np.flatnonzero(class_N == wanted)
        for start in range(0, len(rows), BLOCK):
            rows_B = rows[start : start + BLOCK]
            yield rows_B, k + MARGIN + int(excluded_N[rows_B].max())


def _search_block(
    shard: Shard,
    queries_BD: NDArray[np.float32],
    k: int,
    depth: int,
    slack_B: NDArray[np.float64],
    excluded: Lists,
    probes: Lists | None,
) -> NDArray[np.uint64]:
    """The k best keys of each query of a block, NOTHING where a query has fewer rows."""
    if probes is None and not queries_BD.any():
        lowest = np.broadcast_to(np.arange(min(depth, shard.rows)), (len(queries_BD), min(depth, shard.rows)))
        return first_sorted(_without(keys_of(np.zeros(lowest.shape, np.float32), lowest), excluded, shard.rows), k)
    cells = None if probes is None else _local_cells(shard, probes)
    groups_BW, edge_B = _fetch(shard, queries_BD, depth, cells)
    keys_Bk = _ranked(shard, queries_BD, groups_BW, k, depth, excluded)
    last_B = np.nan_to_num(scores_of(keys_Bk[:, -1]), nan=-np.inf)
    for row in np.flatnonzero(edge_B >= last_B - slack_B):
        alone = np.array([row])
        everything = None if cells is None else cells.take(alone).values_M
        floor = float(last_B[row] - slack_B[row])
        keys_Bk[row] = _scan(shard, queries_BD[row], floor, k, depth, excluded.take(alone), everything)
    return keys_Bk


def _local_cells(shard: Shard, probes: Lists) -> Lists:
    assert shard.cells is not None, "probes are for shards built with clusters"
    clusters_C = shard.cells.clusters_C
    places_M = np.minimum(np.searchsorted(clusters_C, probes.values_M), len(clusters_C) - 1)
    return Lists(probes.offsets_N1, places_M).keep(clusters_C[places_M] == probes.values_M)


def _fetch(
    shard: Shard, queries_BD: NDArray[np.float32], depth: int, cells: Lists | None
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Distinct vectors that FAISS ranks first, -1 past the last one, and the score no other one exceeds."""
    depth = min(depth, len(shard.vectors_UD))
    if cells is None:
        scores_BW, groups_BW = faiss.knn(queries_BD, shard.vectors_UD, depth, metric=faiss.METRIC_INNER_PRODUCT)
        complete_B = np.full(len(queries_BD), depth == len(shard.vectors_UD))
    else:
        assert shard.cells is not None
        probes_BP = cells.padded(-1)
        probes_BP = probes_BP if probes_BP.shape[1] else np.full((len(queries_BD), 1), -1)
        shard.cells.index.nprobe = probes_BP.shape[1]
        zeros_BP = np.zeros(probes_BP.shape, np.float32)
        scores_BW, groups_BW = shard.cells.index.search_preassigned(queries_BD, depth, probes_BP, zeros_BP)
        complete_B = groups_BW[:, -1] < 0
    return groups_BW, np.where(complete_B, -np.inf, scores_BW[:, -1].astype(np.float64))


def _ranked(
    shard: Shard,
    queries_BD: NDArray[np.float32],
    groups_BW: NDArray[np.int64],
    k: int,
    depth: int,
    excluded: Lists,
) -> NDArray[np.uint64]:
    """Score candidates exactly, replace distinct vectors by their rows, drop the excluded, and order the rest."""
    scores_BW = _rescore(shard.vectors_UD, queries_BD, groups_BW)
    if shard.members is None:
        keys_BW = np.where(groups_BW < 0, NOTHING, keys_of(scores_BW, np.maximum(groups_BW, 0)))
        return first_sorted(_without(keys_BW, excluded, shard.rows), k)
    # More rows of one vector than `depth` can never be needed: that many outlast every exclusion.
    lengths_BW = np.where(groups_BW < 0, 0, np.minimum(shard.members.lengths[groups_BW], depth))
    offsets = offsets_of(lengths_BW.ravel())
    starts = shard.members.offsets_N1[groups_BW.ravel()] - offsets[:-1]
    positions_M = shard.members.values_M[np.arange(offsets[-1]) + np.repeat(starts, lengths_BW.ravel())]
    keys_M = keys_of(np.repeat(scores_BW.ravel(), lengths_BW.ravel()), positions_M)
    keys_BX = Lists(offsets_of(lengths_BW.sum(axis=1)), keys_M).padded(NOTHING)
    return first_sorted(_without(keys_BX, excluded, shard.rows), k)


def _rescore(
    vectors_UD: NDArray[np.float32], queries_BD: NDArray[np.float32], groups_BW: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Inner products in float64, rounded to float32; small blocks stay in the processor's cache."""
    scores_BW = np.empty(groups_BW.shape, np.float32)
    step = max(CACHED // max(groups_BW.shape[1], 1), 1)
    for start in range(0, len(queries_BD), step):
        block = slice(start, start + step)
        candidates_bWD = vectors_UD[groups_BW[block]].astype(np.float64)
        scores_BW[block] = np.einsum("bwd,bd->bw", candidates_bWD, queries_BD[block].astype(np.float64))
    return scores_BW


def _without(keys_BW: NDArray[np.uint64], excluded: Lists, rows: int) -> NDArray[np.uint64]:
    """The keys with NOTHING in place of excluded positions."""
    if not len(excluded.values_M):
        return keys_BW
    banned_M = excluded.owners * rows + excluded.values_M
    wanted_BW = np.arange(len(keys_BW))[:, None] * rows + positions_of(keys_BW)
    places_BW = np.minimum(np.searchsorted(banned_M, wanted_BW), len(banned_M) - 1)
    return np.where((banned_M[places_BW] == wanted_BW) & (keys_BW != NOTHING), NOTHING, keys_BW)


def _scan(
    shard: Shard,
    query_D: NDArray[np.float32],
    floor: float,
    k: int,
    depth: int,
    excluded: Lists,
    cells: NDArray[np.int64] | None,
) -> NDArray[np.uint64]:
    """The k best keys of one query among all rows that can score above the floor."""
    if cells is None or shard.cells is None:
        groups_G = np.flatnonzero(shard.vectors_UD @ query_D >= floor)
    else:
        groups_G = shard.cells.rows.take(cells).values_M
        groups_G = groups_G[shard.vectors_UD[groups_G] @ query_D >= floor]
    return _ranked(shard, query_D[None], groups_G[None], k, depth, excluded)[0]


def _decode(keys_Nk: NDArray[np.uint64], ids_N: NDArray[np.int64]) -> TopK:
    real_Nk = keys_Nk != NOTHING
    keys_M = keys_Nk[real_Nk]
    return TopK(offsets_of(real_Nk.sum(axis=1)), ids_N[positions_of(keys_M)], scores_of(keys_M))
