"""The solved model as one sparse matrix: rows of items clicked, columns of what these speak for. No Spark here."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from divspa.linear.settings import Linear
from divspa.linear.solver import Cooccurrences, HeldOut, Ridges, inverted, small_ridges, strongest_of_rows

# So many items suffice to choose a regularisation, in a second each.
CHOSEN_ON = 5000


@dataclass(frozen=True)
class Solution:
    """`weights_VV` by vocabulary index, and the score on the split `valid` of each regularisation tried."""

    weights_VV: sparse.csr_array
    regularisation: float
    scores: tuple[float, ...]


def solve(counts: Cooccurrences, settings: Linear, held_out: HeldOut) -> Solution:
    """Choose the regularisation, and solve for all items that anybody clicked."""
    regularisation, scores = choose_regularisation(counts, settings.regularisations, held_out)
    dense = min(settings.max_dense_items, counts.clicked)
    gram_NN = counts.gram(dense)
    ridges = list(small_ridges(counts, gram_NN, regularisation))
    inverse_NN = inverted(gram_NN, regularisation)
    first = strongest_of_rows(inverse_NN, settings.neighbours)
    own = np.repeat(np.arange(dense), np.diff(first.indptr)), first.indices, first.data
    parts = [own, *beyond(ridges, 1 / np.diag(inverse_NN))]
    rows, columns, weights = (np.concatenate(part) for part in zip(*parts, strict=True))
    size, index = len(counts.item_I), counts.item_I
    entries = sparse.csr_array((weights, (index[rows], index[columns])), (size, size))
    return Solution(best_of_rows(entries, settings.neighbours), regularisation, scores)


def beyond(ridges: list[Ridges], left_N: NDArray[np.float32]) -> Iterator[tuple[NDArray, NDArray, NDArray]]:
    """Rows, columns and weights of the rare items: what speaks for them, and what they say of the N most clicked.

    The latter follows from the former: P is symmetric, so B[i, j] P[j, j] = B[j, i] P[i, i]; `left_N` is 1 / P[j, j].
    """
    for ridge in ridges:
        partners_M, owner_M = ridge.partners.values_M, ridge.partners.owners
        yield partners_M, ridge.items_B[owner_M], ridge.weights_M
        first_M = partners_M < len(left_N)
        owner_F, partner_F = owner_M[first_M], partners_M[first_M]
        yield ridge.items_B[owner_F], partner_F, ridge.weights_M[first_M] * left_N[partner_F] / ridge.left_B[owner_F]


def choose_regularisation(
    counts: Cooccurrences, tried: tuple[float, ...], held_out: HeldOut
) -> tuple[float, tuple[float, ...]]:
    """The regularisation that ranks the held-out clicks best among the first CHOSEN_ON items, and each one's score.

    With one to choose from, or nothing held out, the first is taken and nothing is tried.
    """
    if len(tried) == 1 or not len(held_out.item_E):
        return tried[0], ()
    items = min(CHOSEN_ON, counts.clicked)
    asked, gram_NN = held_out.among_first(items), counts.gram(items)
    scores = tuple(asked.score(inverted(gram_NN.copy(), value)) for value in tried)
    return tried[int(np.argmax(scores))], scores


def best_of_rows(weights_VV: Any, most: int) -> sparse.csr_array:
    """Of each row the `most` entries largest in size, none of them 0, from the highest down; ties by item."""
    weights_VV.sort_indices()
    size = len(weights_VV.indptr) - 1
    kept: list[NDArray[np.int64]] = []
    for row in range(size):
        places = np.arange(weights_VV.indptr[row], weights_VV.indptr[row + 1])
        of_row = weights_VV.data[places[0] : places[-1] + 1] if len(places) else weights_VV.data[:0]
        if len(places) > most:
            places = places[np.argpartition(-np.abs(of_row), most - 1)[:most]]
            places.sort()
            of_row = weights_VV.data[places]
        places = places[of_row != 0]
        kept.append(places[np.argsort(-weights_VV.data[places], kind="stable")])
    every = np.concatenate([np.zeros(0, np.int64), *kept])
    ends = np.cumsum([0, *map(len, kept)])
    return sparse.csr_array((weights_VV.data[every], weights_VV.indices[every], ends), weights_VV.shape)
