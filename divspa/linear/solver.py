"""EASE from co-occurrences: in closed form for the items clicked most, by small ridges for the others. No Spark here.

Items are named by their place in the order of clicks, 0 being clicked most, so that a pair is kept with its rarer item.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, sparse

from divspa.errors import TrainingError
from divspa.gains import gains
from divspa.lists import Lists, offsets_of

SHRINKAGE = 10.0
# Without a cut, what helps the end of the lists would be chosen.
CUT = 100
ROWS_AT_ONCE, RIDGES_AT_ONCE = 512, 256


@dataclass(frozen=True)
class Cooccurrences:
    """How many users clicked both items of a pair, for I items by place.

    `item_I` is an item's index in the vocabulary and `clicks_I` its users, descending. `earlier` lists, for each item,
    the places before its own that share a user with it, and `partners` those by which a rare item is predicted.
    """

    item_I: NDArray[np.int64]
    clicks_I: NDArray[np.int64]
    earlier: Lists
    earlier_counts_M: NDArray[np.int32]
    partners: Lists
    partner_counts_M: NDArray[np.int32]

    @classmethod
    def of(cls, rows: Iterable[Any], item_I: NDArray[np.int64], clicks_I: NDArray[np.int64]) -> "Cooccurrences":
        """From one row an item: its place `item`, and the lists of the same names as packed INTs."""
        names = "earlier", "earlier_counts", "partners", "partner_counts"
        nothing = np.zeros(0, np.int32)
        found = {name: [nothing] * len(item_I) for name in names}
        for row in rows:
            for name in names:
                found[name][row.item] = np.frombuffer(getattr(row, name), np.int32)
        values = {name: np.concatenate([nothing, *found[name]]) for name in names}
        earlier, partners = (
            Lists(offsets_of(np.fromiter(map(len, found[name]), np.int64)), values[name])
            for name in ("earlier", "partners")
        )
        return cls(item_I, clicks_I, earlier, values["earlier_counts"], partners, values["partner_counts"])

    @property
    def clicked(self) -> int:
        """How many items anybody clicked."""
        return int((self.clicks_I > 0).sum())

    def gram(self, items: int) -> NDArray[np.float32]:
        """The counts of the first items with each other: the lower triangle, and the clicks as its diagonal."""
        gram_NN = np.zeros((items, items), np.float32)
        end = self.earlier.offsets_N1[items]
        owners_M = np.repeat(np.arange(items), self.earlier.lengths[:items])
        gram_NN[owners_M, self.earlier.values_M[:end]] = self.earlier_counts_M[:end]
        gram_NN[np.diag_indices(items)] = self.clicks_I[:items]
        return gram_NN


def clicks_of(clicked: Lists, items: int, kind: type = np.float32) -> Any:
    """Which of so many items each of U users clicked, distinct ones, as ones in a sparse.csr_array (U, items)."""
    ones = np.ones(len(clicked.values_M), kind)
    return sparse.csr_array((ones, clicked.values_M, clicked.offsets_N1), (len(clicked), items))


@dataclass(frozen=True)
class HeldOut:
    """Clicks to be predicted: E events, each of a user `user_E` and an item `item_E`, and what the users clicked."""

    clicked: Lists
    user_E: NDArray[np.int64]
    item_E: NDArray[np.integer]

    def among_first(self, items: int) -> "HeldOut":
        """The same by the first items alone."""
        kept_E = self.item_E < items
        return HeldOut(self.clicked.keep(self.clicked.values_M < items), self.user_E[kept_E], self.item_E[kept_E])

    def score(self, inverse_NN: NDArray[np.float32]) -> float:
        """NDCG at CUT of the events ranked by the closed form."""
        size, ranks_E = len(inverse_NN), np.zeros(len(self.user_E), np.int64)
        order_E = np.argsort(self.user_E, kind="stable")
        for start in range(0, len(self.clicked), ROWS_AT_ONCE):
            users_U = np.arange(start, min(start + ROWS_AT_ONCE, len(self.clicked)))
            mine = self.clicked.take(users_U)
            # B = -P / diag(P) in each column; its diagonal only scores what was clicked, which is left out.
            scores_UN = -(clicks_of(mine, size) @ inverse_NN) / np.diag(inverse_NN)
            scores_UN[mine.owners, mine.values_M] = -np.inf
            first, last = np.searchsorted(self.user_E[order_E], (users_U[0], users_U[-1] + 1))
            for event in order_E[first:last]:
                scores_N = scores_UN[self.user_E[event] - start]
                ranks_E[event] = np.count_nonzero(scores_N >= scores_N[self.item_E[event]]) - 1
        return float(gains(ranks_E, f"ndcg@{CUT}").mean()) if len(ranks_E) else 0.0


def inverted(gram_NN: NDArray[np.float32], regularisation: float) -> NDArray[np.float32]:
    """(G + regularisation I)^-1 in the memory of G, of which the lower triangle is read."""
    gram_NN[np.diag_indices(len(gram_NN))] += regularisation
    # LAPACK counts by columns, where a lower triangle by rows is an upper one.
    factorise, invert = linalg.get_lapack_funcs(("potrf", "potri"), (gram_NN,))
    factor, failed = factorise(gram_NN.T, lower=0, clean=0, overwrite_a=1)
    inverse, failed_too = (factor, failed) if failed else invert(factor, lower=0, overwrite_c=1)
    if failed or failed_too:
        raise TrainingError(
            "The co-occurrences cannot be inverted",
            expected="a regularisation that outweighs rounding",
            found=str(regularisation),
            remedy="take larger `linear.regularisations`",
        )
    inverse_NN = inverse.T
    for start in range(0, len(inverse_NN), ROWS_AT_ONCE):
        stop = start + ROWS_AT_ONCE
        inverse_NN[start:stop, stop:] = inverse_NN[stop:, start:stop].T
        block = np.tril(inverse_NN[start:stop, start:stop])
        inverse_NN[start:stop, start:stop] = block + np.tril(block, -1).T
    return inverse_NN


def strongest_of_rows(inverse_NN: NDArray[np.float32], most: int) -> sparse.csr_array:
    """The closed form's weights, B[i, j] = -P[i, j] / P[j, j]: of each row the `most` largest in size."""
    size, most = len(inverse_NN), min(most, len(inverse_NN) - 1)
    places_NK, weights_NK = np.empty((size, most), np.int32), np.empty((size, most), np.float32)
    diagonal_N = np.diag(inverse_NN).copy()
    for start in range(0, size, ROWS_AT_ONCE):
        rows = slice(start, start + ROWS_AT_ONCE)
        weights = -inverse_NN[rows] / diagonal_N
        weights[np.arange(len(weights)), np.arange(start, start + len(weights))] = 0
        places_NK[rows] = np.argpartition(-np.abs(weights), most - 1, axis=1)[:, :most] if most else 0
        weights_NK[rows] = np.take_along_axis(weights, places_NK[rows], 1)
    return sparse.csr_array((weights_NK.ravel(), places_NK.ravel(), np.arange(size + 1) * most), (size, size))


def strongest_partners(
    partners: Lists, count_M: NDArray[np.integer], item_M: NDArray[np.int64], clicks_I: NDArray[np.int64], most: int
) -> tuple[Lists, Lists]:
    """Of each item's partners the `most` that share most users with it for their own, ascending, and these counts."""
    either_M = np.sqrt(clicks_I[partners.values_M] * clicks_I[item_M].astype(np.float64))
    strength_M = count_M / (either_M + SHRINKAGE)
    kept_M = np.ones(len(strength_M), bool)
    for row in np.flatnonzero(partners.lengths > most):
        part = slice(partners.offsets_N1[row], partners.offsets_N1[row + 1])
        kept_M[part] = False
        kept_M[part.start + np.argpartition(-strength_M[part], most)[:most]] = True
    kept = partners.keep(kept_M)
    return kept, Lists(kept.offsets_N1, count_M[kept_M])


@dataclass(frozen=True)
class Ridges:
    """Some items predicted by their partners: the items, these partners' places, their weights, and what stays
    unexplained of each item, which is 1 / P[j, j] of the closed form.
    """

    items_B: NDArray[np.int64]
    partners: Lists
    weights_M: NDArray[np.float32]
    left_B: NDArray[np.float32]


def small_ridges(counts: Cooccurrences, gram_NN: NDArray[np.float32], regularisation: float) -> Iterator[Ridges]:
    """Each item beyond the Gram matrix predicted by its partners alone.

    The closed form is a ridge of every item on all others; this is the same ridge on at most as many as are kept.
    """
    for start in range(len(gram_NN), counts.clicked, RIDGES_AT_ONCE):
        items = np.arange(start, min(start + RIDGES_AT_ONCE, counts.clicked))
        mine, width = counts.partners.take(items), int(counts.partners.lengths[items].max())
        if not width:
            continue
        shared_BKK = np.zeros((len(items), width, width), np.float32)
        for row, item in enumerate(items):
            first, last = counts.partners.offsets_N1[item : item + 2]
            _fill(shared_BKK[row], counts.partners.values_M[first:last], counts, gram_NN)
        own_BK = Lists(mine.offsets_N1, counts.clicks_I[mine.values_M].astype(np.float32)).padded(1, width)
        of_pair = Lists(counts.partners.offsets_N1, counts.partner_counts_M).take(items)
        wanted_BK = Lists(of_pair.offsets_N1, of_pair.values_M.astype(np.float32)).padded(0, width)
        shared_BKK += shared_BKK.transpose(0, 2, 1)
        shared_BKK[:, np.arange(width), np.arange(width)] = own_BK + regularisation
        weights_BK = np.linalg.solve(shared_BKK, wanted_BK[..., None])[..., 0]
        left_B = counts.clicks_I[items] + regularisation - (weights_BK * wanted_BK).sum(axis=1)
        yield Ridges(items, mine, weights_BK[np.arange(width) < mine.lengths[:, None]], left_B.astype(np.float32))


def _fill(
    shared_KK: NDArray[np.float32],
    partners_K: NDArray[np.int32],
    counts: Cooccurrences,
    gram_NN: NDArray[np.float32],
) -> None:
    """The counts of an item's partners with each other, ascending: the triangle below the diagonal."""
    common = int(np.searchsorted(partners_K, len(gram_NN)))
    first_H = partners_K[:common]
    shared_KK[:common, :common] = np.tril(gram_NN[np.ix_(first_H, first_H)], -1)
    starts_R, ends_R = (counts.earlier.offsets_N1[partners_K[common:] + more] for more in (0, 1))
    for row, start, end in zip(range(common, len(partners_K)), starts_R, ends_R, strict=True):
        if end > start:
            # Both ascend, and what was clicked together with a partner may be much more than the partners.
            place_K = np.searchsorted(counts.earlier.values_M[start:end], partners_K[:row])
            place_K = np.minimum(start + place_K, end - 1)
            same_K = counts.earlier.values_M[place_K] == partners_K[:row]
            shared_KK[row, :row] = np.where(same_K, counts.earlier_counts_M[place_K], 0)
