"""The rows of an index that one task holds, made ready for exact search; numpy and FAISS, no Spark."""

from dataclasses import dataclass

import faiss
import numpy as np
from numpy.typing import NDArray

from divspa.errors import ContractError
from divspa.lists import Lists, offsets_of

HASHED_ROWS = 2**16


@dataclass(frozen=True)
class Cells:
    """The clusters of a routed shard: FAISS's inverted lists, and the same lists for a scan."""

    clusters_C: NDArray[np.int64]
    rows: Lists
    index: faiss.IndexIVFFlat


@dataclass(frozen=True)
class Shard:
    """Rows in ascending order of id, with equal vectors held once, since thousands of users can share one.

    `members` lists the positions (in `ids_N`) of the rows of each distinct vector; None when all vectors differ.
    `longest` is the largest length of a vector.
    """

    ids_N: NDArray[np.int64]
    vectors_UD: NDArray[np.float32]
    members: Lists | None
    longest: float
    cells: Cells | None = None

    @property
    def rows(self) -> int:
        return len(self.ids_N)


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
    longest = float(lengths_of(vectors_UD).max(initial=0))
    cells = None if clusters_N is None else _build_cells(vectors_UD, clusters_N[order_N][first_U])
    return Shard(ids_N, vectors_UD, members, longest, cells)


def lengths_of(vectors_ND: NDArray[np.float32]) -> NDArray[np.float64]:
    """Euclidean lengths, summed in float64 without a copy of that size."""
    return np.sqrt(np.einsum("nd,nd->n", vectors_ND, vectors_ND, dtype=np.float64))


def _distinct(vectors_ND: NDArray[np.float32]) -> tuple[NDArray[np.int64], Lists | None]:
    """The first row of each distinct vector, and the rows of each; None when all vectors differ."""
    hashes_N = _hashes(vectors_ND)
    _, first_U, group_N = np.unique(hashes_N, return_index=True, return_inverse=True)
    if len(first_U) == len(vectors_ND):
        return np.arange(len(vectors_ND)), None
    if not all(
        (vectors_ND[start : start + HASHED_ROWS] == vectors_ND[first_U[group_N[start : start + HASHED_ROWS]]]).all()
        for start in range(0, len(vectors_ND), HASHED_ROWS)
    ):  # different vectors of one hash: compare them whole
        _, first_U, group_N = np.unique(vectors_ND, axis=0, return_index=True, return_inverse=True)
    members = Lists(offsets_of(np.bincount(group_N, minlength=len(first_U))), np.argsort(group_N, kind="stable"))
    return first_U, members


def _hashes(vectors_ND: NDArray[np.float32]) -> NDArray[np.uint64]:
    """A hash of each vector's bits, the same for 0.0 and -0.0, by blocks that stay small."""
    factors_D = np.random.default_rng(0).integers(1, 2**63, vectors_ND.shape[1], dtype=np.uint64) * 2 + 1
    hashes_N = np.empty(len(vectors_ND), np.uint64)
    for start in range(0, len(vectors_ND), HASHED_ROWS):
        block = slice(start, start + HASHED_ROWS)
        bits_BD = (vectors_ND[block] + np.float32(0)).view(np.uint32)
        hashes_N[block] = (bits_BD * factors_D).sum(axis=1, dtype=np.uint64)
    return hashes_N


def _build_cells(vectors_UD: NDArray[np.float32], clusters_U: NDArray[np.int64]) -> Cells:
    clusters_C, cell_U = np.unique(clusters_U, return_inverse=True)
    rows = Lists(offsets_of(np.bincount(cell_U, minlength=len(clusters_C))), np.argsort(cell_U, kind="stable"))
    dim = vectors_UD.shape[1]
    # IVF would measure L2 by default, even over an inner-product quantizer. The quantizer itself is never asked.
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(dim), dim, max(len(clusters_C), 1), faiss.METRIC_INNER_PRODUCT)
    index.is_trained = True
    rows_U, cell_U = np.arange(len(vectors_UD)), np.ascontiguousarray(cell_U, np.int64)
    index.add_core(len(vectors_UD), *(faiss.swig_ptr(array) for array in (vectors_UD, rows_U, cell_U)))
    return Cells(clusters_C, rows, index)
