"""What the linear model recommends: each user's best items by the sum of the weights of what the user clicked."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark.sql import DataFrame
from scipy import sparse

from divspa.arrow import list_column, lists_of
from divspa.linear.solver import clicks_of
from divspa.lists import Lists, offsets_of

USERS_AT_ONCE = 256
LISTS = "id bigint, ids array<int>, scores array<float>"


@dataclass(frozen=True)
class Weights:
    """The rows of item_neighbours by index: row i holds what a click on item i says of others (V, V)."""

    rows_VV: Any  # a sparse.csr_array

    @classmethod
    def read(cls, neighbours: DataFrame, size: int = 0, allowed: DataFrame | None = None) -> "Weights":
        """From a day of item_neighbours, O(items * neighbours) on the driver; only of `allowed` (item_index) if given.

        There are at least `size` items, so that others can be asked about too.
        """
        table = neighbours.select("item_index", "neighbour_indices", "weights").toArrow().combine_chunks()
        ids, weights = lists_of(table["neighbour_indices"].chunk(0)), lists_of(table["weights"].chunk(0))
        item_R = table["item_index"].to_numpy().astype(np.int64)
        size = max(size, int(item_R.max()) + 1, int(ids.values_M.max()) + 1)
        rows_M, columns_M = item_R[ids.owners], ids.values_M
        kept_M = np.ones(len(columns_M), bool)
        if allowed is not None:
            allowed_A = allowed.select("item_index").toArrow()["item_index"].to_numpy()
            kept_M = np.isin(columns_M, allowed_A)
        entries = weights.values_M[kept_M], (rows_M[kept_M], columns_M[kept_M])
        return cls(sparse.csr_array(entries, (size, size)))

    def scores(self, clicked: Lists) -> Any:
        """The scores of U users by what each clicked, distinct items (U, V); what none of them speaks of has none."""
        size = self.rows_VV.shape[0]
        clicked = clicked.keep(clicked.values_M < size)
        return clicks_of(clicked, size) @ self.rows_VV

    def filled_up(self, clicked: Lists, clicks_N: NDArray[np.int64]) -> NDArray[np.float32]:
        """The scores as a full array; what has none above 0 follows below 0 by its clicks `clicks_N` [U, N].

        So a user of whom nothing is known gets what is popular.
        """
        scores_UN = self.scores(clicked).toarray()
        return np.where(scores_UN > 0, scores_UN, -1 / (1 + clicks_N.astype(np.float32)))

    def best(
        self, clicked: Lists, hidden: Lists, k: int, *, count: bool = False, popular_P: NDArray[np.int32] | None = None
    ) -> tuple[Lists, Lists]:
        """The k items of U users with the highest scores above 0 and these, without those `hidden`; ties by item.

        To `count` them, hidden items that score above the last of the k stay in the list. Where fewer than k are found,
        the first of `popular_P` (also items without a weight) that are neither in the list nor hidden follow,
        with the score 0.
        """
        size = max(self.rows_VV.shape[1], 0 if popular_P is None else 1 + popular_P.max(initial=0))
        scores, is_hidden_V = self.scores(clicked), np.zeros(size, bool)
        ids, values = [], []
        for user in range(len(clicked)):
            part = slice(scores.indptr[user], scores.indptr[user + 1])
            above = scores.data[part] > 0
            ids_M, scores_M = scores.indices[part][above], scores.data[part][above]
            own = hidden.values_M[hidden.offsets_N1[user] : hidden.offsets_N1[user + 1]]
            own = own[own < len(is_hidden_V)]
            is_hidden_V[own] = True
            best = _best(ids_M, scores_M, ~is_hidden_V[ids_M], k, count=count)
            ids.append(ids_M[best])
            values.append(scores_M[best])
            if popular_P is not None and len(best) < k:
                first_P = popular_P[: k + len(own)]
                more_P = first_P[~is_hidden_V[first_P] & ~np.isin(first_P, ids[-1])][: k - len(best)]
                ids[-1] = np.concatenate([ids[-1], more_P])
                values[-1] = np.concatenate([values[-1], np.zeros(len(more_P), np.float32)])
            is_hidden_V[own] = False
        offsets = offsets_of(np.fromiter(map(len, ids), np.int64, len(ids)))
        all_ids, all_scores = (np.concatenate([[0], *of])[1:] for of in (ids, values))
        return Lists(offsets, all_ids.astype(np.int32)), Lists(offsets, all_scores.astype(np.float32))


def _best(
    ids_M: NDArray[np.int32], scores_M: NDArray[np.float32], new_M: NDArray[np.bool_], k: int, *, count: bool
) -> NDArray[np.int64]:
    """Which of M scored items stand in the list, in its order."""
    new_scores = scores_M[new_M]
    least = np.partition(new_scores, -k)[-k] if len(new_scores) > k else 0
    places = np.flatnonzero((scores_M >= least) & (new_M | count))
    places = places[np.lexsort((ids_M[places], -scores_M[places]))]
    enough = int(np.searchsorted(np.cumsum(new_M[places]), k))
    return places[: enough + 1]


def recommend(
    users: DataFrame, weights: Weights, k: int, *, count: bool = False, popular_P: NDArray[np.int32] | None = None
) -> DataFrame:
    """Ranked lists of users. One row a user: id BIGINT, ids ARRAY<INT> (item_index) and scores, best first, at most k.

    `users` has id, clicked (distinct item_index), and may have exclude: items left out of the list, by default the
    clicked. A list holds fewer than k where the clicks speak for fewer, unless it is filled up with `popular_P`,
    item_index of what most users click first. That and `count` are of Weights.best.
    """
    shared = users.sparkSession.sparkContext.broadcast((weights, popular_P))
    names = [name for name in ("id", "clicked", "exclude") if name in users.columns]

    def recommend_batches(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        weights, popular_P = shared.value
        for batch in batches:
            for start in range(0, batch.num_rows, USERS_AT_ONCE):
                part = batch.slice(start, USERS_AT_ONCE)
                clicked = lists_of(part["clicked"])
                hidden = lists_of(part["exclude"]) if "exclude" in names else clicked
                ids, scores = weights.best(clicked, hidden, k, count=count, popular_P=popular_P)
                columns = [list_column(each.values_M, each.offsets_N1) for each in (ids, scores)]
                yield pa.RecordBatch.from_arrays([part["id"], *columns], ["id", "ids", "scores"])

    return users.select(*names).mapInArrow(recommend_batches, LISTS)
