"""Exact top-k by inner product inside one shard of an index, and the merge of such results; no Spark.

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

from divspa.errors import TrainingError
from divspa.lists import Lists, empty_lists, offsets_of
from divspa.retrieval.ordering import NOTHING, first_sorted, keys_of, positions_of, scores_of
from divspa.retrieval.shard import Shard, build_shard, lengths_of

__all__ = ["Shard", "TopK", "best_of", "build_shard", "joined", "one_thread", "search"]

MARGIN = 8
OVERFETCH = 2
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
class Block:
    """Queries that are searched at once: `depth` candidates each, of which the best `k` are kept.

    `enough` candidates outlast every exclusion. `slack_B` is how far a float32 score of a query can be from the exact
    one; `excluded` lists positions in the shard, ascending; `cells`, if given, lists the shard's cells to look into.
    """

    queries_BD: NDArray[np.float32]
    slack_B: NDArray[np.float64]
    excluded: Lists
    cells: Lists | None
    k: int
    depth: int
    enough: int

    def only(self, rows: NDArray[np.int64]) -> "Block":
        """These queries alone, with as many candidates as they can need."""
        cells = None if self.cells is None else self.cells.take(rows)
        queries_BD, excluded = self.queries_BD[rows], self.excluded.take(rows)
        return Block(queries_BD, self.slack_B[rows], excluded, cells, self.k, self.enough, self.enough)


def one_thread() -> None:
    """Make FAISS use one thread in this process, a Spark task's core, and matrix products for blocks of queries too."""
    faiss.omp_set_num_threads(1)
    # FAISS 1.15 would score blocks below some thousand queries one by one, at a third of the speed.
    faiss.cvar.distance_compute_blas_threshold = BLAS_FROM


def search(
    shard: Shard, queries_ND: NDArray[np.float32], k: int, exclude: Lists | None = None, probes: Lists | None = None
) -> TopK:
    """The k best rows of the shard for each query, without the ids in its list of `exclude`.

    `probes` names for each query the clusters to look into; other rows are then left out. Lists are shorter than k only
    where fewer rows exist. Raises TrainingError when scores overflow float32.
    """
    count, width = len(queries_ND), min(int(k), shard.rows)
    if not width or not count:
        return TopK(np.zeros(count + 1, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32))
    queries_ND = np.ascontiguousarray(queries_ND, dtype=np.float32)
    lengths_N = lengths_of(queries_ND)
    _require_range(lengths_N, shard)
    slack_N = _slack(lengths_N, shard)
    excluded = empty_lists(count, np.int64) if exclude is None else _as_positions(exclude, shard)
    cells = None if probes is None else _as_cells(probes, shard)
    keys_Nk = np.empty((count, width), np.uint64)
    for rows_B in _alike(excluded.lengths, lengths_N == 0):
        own_cells = None if cells is None else cells.take(rows_B)
        own_excluded = excluded.take(rows_B)
        most = int(own_excluded.lengths.max())
        depth, enough = width + MARGIN + min(most, OVERFETCH * width), width + MARGIN + most
        block = Block(queries_ND[rows_B], slack_N[rows_B], own_excluded, own_cells, width, depth, enough)
        keys_Nk[rows_B] = _search_block(shard, block)
    return _decoded(keys_Nk, shard.ids_N)


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
    return _decoded(first_sorted(keys.padded(NOTHING), k), known_P)


def _require_range(lengths_N: NDArray[np.float64], shard: Shard) -> None:
    if not float(lengths_N.max()) * shard.longest < LARGEST:
        raise TrainingError(
            "The scores of a search are not finite",
            expected="vectors whose inner products fit float32",
            found=f"vector lengths up to {lengths_N.max():.3g} and {shard.longest:.3g}",
            remedy="look for a diverged training: lower the learning rate",
        )


def _slack(lengths_N: NDArray[np.float64], shard: Shard) -> NDArray[np.float64]:
    """How far a float32 inner product can be from the exact one, for each query (Higham 2002, Section 3.1)."""
    terms = shard.vectors_UD.shape[1] + 2
    return terms * (ROUNDING * lengths_N * shard.longest + SMALLEST)


def _as_positions(exclude: Lists, shard: Shard) -> Lists:
    """Excluded ids as positions in the shard, each once and ascending; ids of other shards fall away."""
    positions_M = np.minimum(np.searchsorted(shard.ids_N, exclude.values_M), shard.rows - 1)
    here = Lists(exclude.offsets_N1, positions_M).keep(shard.ids_N[positions_M] == exclude.values_M)
    pairs_M = np.unique(here.owners * shard.rows + here.values_M)
    lengths_N = np.bincount(pairs_M // shard.rows, minlength=len(exclude))
    return Lists(offsets_of(lengths_N), pairs_M % shard.rows)


def _as_cells(probes: Lists, shard: Shard) -> Lists:
    """Probed clusters as numbers of the shard's cells; clusters without rows here fall away."""
    assert shard.cells is not None, "probes are for shards built with clusters"
    clusters_C = shard.cells.clusters_C
    places_M = np.minimum(np.searchsorted(clusters_C, probes.values_M), len(clusters_C) - 1)
    return Lists(probes.offsets_N1, places_M).keep(clusters_C[places_M] == probes.values_M)


def _alike(excluded_N: NDArray[np.int64], zero_N: NDArray[np.bool_]) -> Iterator[NDArray[np.int64]]:
    """Blocks of queries that exclude similarly many rows, zero vectors apart.

    One heavy user would otherwise make the search of a whole block deep.
    """
    class_N = np.where(zero_N, -1, np.ceil(np.log2(excluded_N + 1) / 2)).astype(np.int64)
    for wanted in np.unique(class_N):
        rows = np.flatnonzero(class_N == wanted)
        yield from (rows[start : start + BLOCK] for start in range(0, len(rows), BLOCK))


def _search_block(shard: Shard, block: Block) -> NDArray[np.uint64]:
    """The k best keys of each query (B, k), NOTHING where a query has fewer rows."""
    if block.cells is None and not block.queries_BD.any():
        return _lowest(shard, block)
    groups_BW, edge_B = _fetch(shard, block)
    keys_Bk = _ranked(shard, block, groups_BW)
    last_B = np.nan_to_num(scores_of(keys_Bk[:, -1]), nan=-np.inf)
    # A row that was not fetched scores at most the edge and the slack: less than the k-th result, or it must be seen.
    unsure = np.flatnonzero((edge_B > -np.inf) & (edge_B >= last_B - block.slack_B))
    if len(unsure) and block.depth < block.enough:
        keys_Bk[unsure] = _search_block(shard, block.only(unsure))
        return keys_Bk
    for row in unsure:
        keys_Bk[row] = _scan(shard, block.only(np.array([row])), float(last_B[row] - block.slack_B[row]))
    return keys_Bk


def _lowest(shard: Shard, block: Block) -> NDArray[np.uint64]:
    """The answer to zero vectors, against which every row scores 0."""
    shape = (len(block.queries_BD), min(block.enough, shard.rows))
    keys_BW = keys_of(np.zeros(shape, np.float32), np.broadcast_to(np.arange(shape[1]), shape))
    return first_sorted(_without(keys_BW, block.excluded, shard.rows), block.k)


def _fetch(shard: Shard, block: Block) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Distinct vectors that FAISS ranks first, -1 past the last one, and the score that no other one exceeds (B,)."""
    depth = min(block.depth, len(shard.vectors_UD))
    if block.cells is None or shard.cells is None:
        scores_BW, groups_BW = faiss.knn(block.queries_BD, shard.vectors_UD, depth, metric=faiss.METRIC_INNER_PRODUCT)
        complete_B = np.full(len(groups_BW), depth == len(shard.vectors_UD))
    else:
        cells_BP = block.cells.padded(-1)
        cells_BP = cells_BP if cells_BP.shape[1] else np.full((len(cells_BP), 1), -1)
        index, unused_BP = shard.cells.index, np.zeros(cells_BP.shape, np.float32)
        index.nprobe = cells_BP.shape[1]
        scores_BW, groups_BW = index.search_preassigned(block.queries_BD, depth, cells_BP, unused_BP)
        complete_B = groups_BW[:, -1] < 0
    return groups_BW, np.where(complete_B, -np.inf, scores_BW[:, -1].astype(np.float64))


def _scan(shard: Shard, block: Block, floor: float) -> NDArray[np.uint64]:
    """The k best keys of a block of one query among all rows that can score above the floor."""
    if block.cells is None or shard.cells is None:
        groups_G = np.flatnonzero(shard.vectors_UD @ block.queries_BD[0] >= floor)
    else:
        groups_G = shard.cells.rows.take(block.cells.values_M).values_M
        groups_G = groups_G[shard.vectors_UD[groups_G] @ block.queries_BD[0] >= floor]
    return _ranked(shard, block, groups_G[None])[0]


def _ranked(shard: Shard, block: Block, groups_BW: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Score distinct vectors exactly, replace them by their rows, drop the excluded, and keep the k best in order."""
    scores_BW = _rescored(shard.vectors_UD, block.queries_BD, groups_BW)
    if shard.members is None:
        keys_BX = np.where(groups_BW < 0, NOTHING, keys_of(scores_BW, np.maximum(groups_BW, 0)))
    else:
        rows = shard.members.take(groups_BW.ravel(), most_B=np.where(groups_BW < 0, 0, block.enough).ravel())
        keys_M = keys_of(np.repeat(scores_BW.ravel(), rows.lengths), rows.values_M)
        keys_BX = Lists(rows.offsets_N1[:: groups_BW.shape[1]], keys_M).padded(NOTHING)
    return first_sorted(_without(keys_BX, block.excluded, shard.rows), block.k)


def _rescored(
    vectors_UD: NDArray[np.float32], queries_BD: NDArray[np.float32], groups_BW: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Inner products in float64, rounded to float32, by pieces that stay in the processor's cache."""
    scores_BW = np.empty(groups_BW.shape, np.float32)
    step = max(CACHED // max(groups_BW.shape[1], 1), 1)
    for start in range(0, len(queries_BD), step):
        piece = slice(start, start + step)
        candidates_bWD = vectors_UD[groups_BW[piece]].astype(np.float64)
        scores_BW[piece] = np.einsum("bwd,bd->bw", candidates_bWD, queries_BD[piece].astype(np.float64))
    return scores_BW


def _without(keys_BW: NDArray[np.uint64], excluded: Lists, rows: int) -> NDArray[np.uint64]:
    """The keys with NOTHING in place of excluded positions."""
    if not len(excluded.values_M):
        return keys_BW
    banned_M = excluded.owners * rows + excluded.values_M
    wanted_BW = np.arange(len(keys_BW))[:, None] * rows + positions_of(keys_BW)
    places_BW = np.minimum(np.searchsorted(banned_M, wanted_BW), len(banned_M) - 1)
    return np.where((banned_M[places_BW] == wanted_BW) & (keys_BW != NOTHING), NOTHING, keys_BW)


def _decoded(keys_Nk: NDArray[np.uint64], ids_N: NDArray[np.int64]) -> TopK:
    real_Nk = keys_Nk != NOTHING
    keys_M = keys_Nk[real_Nk]
    return TopK(offsets_of(real_Nk.sum(axis=1)), ids_N[positions_of(keys_M)], scores_of(keys_M))
