"""What is needed of a user to augment the user's pairs, brought together in one pass over rows sorted by user."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from divspa.arrow import lists_of, matrix, packed, packed_rows, unpacked, whole_groups
from divspa.augmentation.catalogue import Catalogue
from divspa.augmentation.pools import among, best_of_pools, dots, outranking, pooled
from divspa.lists import Lists

# The kinds of rows about a user, in their order: own vector and clicks, then the candidates of each way by its place.
OWN, FOUND = 0, 1


@dataclass(frozen=True)
class Found:
    """For each user the candidates of one way, best first, their scores, and how many clicked items outranked them."""

    ids: Lists
    scores: Lists
    dropped_U: NDArray[np.int64]


@dataclass(frozen=True)
class UserStates:
    """U users: vectors, what they clicked (ascending), and the candidates of the ways that start from a user."""

    vectors_UD: NDArray[np.float32]
    clicked: Lists
    by_way: dict[str, Found]

    @classmethod
    def of(cls, states: pa.RecordBatch, ways: Sequence[str]) -> "UserStates":
        """From rows in the columns of `state_columns`."""
        return cls(
            unpacked(states["vector"], np.float32).values_M.reshape(states.num_rows, -1),
            unpacked(states["clicked"], np.int32),
            {
                way: Found(
                    unpacked(states[f"{way}_ids"], np.int32),
                    unpacked(states[f"{way}_scores"], np.float32),
                    states[f"{way}_dropped"].to_numpy(),
                )
                for way in ways
            },
        )

    def as_batch(self, keys_U: NDArray[np.int64]) -> pa.RecordBatch:
        columns = [pa.array(keys_U), packed_rows(self.vectors_UD), packed(self.clicked)]
        for found in self.by_way.values():
            columns += [packed(found.ids), packed(found.scores), pa.array(found.dropped_U)]
        return pa.RecordBatch.from_arrays(columns, state_columns(list(self.by_way)))


def state_schema(ways: Sequence[str]) -> str:
    """The columns of a user's state, with the candidates of these ways, as Spark's types."""
    found = "".join(f", {way}_ids binary, {way}_scores binary, {way}_dropped bigint" for way in ways)
    return f"user_key bigint, vector binary, clicked binary{found}"


def state_columns(ways: Sequence[str]) -> list[str]:
    """The names of the same columns."""
    return [column.split()[0] for column in state_schema(ways).split(", ")]


def state_batches(
    batches: Iterable[pa.RecordBatch], catalogue: Catalogue, ways: Sequence[str], k: int
) -> Iterator[pa.RecordBatch]:
    """One row a user from rows sorted by user and kind: user_key, kind, vector, items, scores."""
    for rows in whole_groups(batches, "user_key"):
        keys_U, user_R = np.unique(rows["user_key"].to_numpy(), return_inverse=True)
        kind_R = rows["kind"].to_numpy()
        own = rows.filter(pa.array(kind_R == OWN))
        users = UserStates(matrix(own["vector"]), lists_of(own["items"]), {})
        for place, way in enumerate(ways):
            mine_R = kind_R == FOUND + place
            users.by_way[way] = _best_of(rows.filter(pa.array(mine_R)), user_R[mine_R], users, catalogue, k)
        yield users.as_batch(keys_U)


def _best_of(rows: pa.RecordBatch, user_F: NDArray[np.int64], users: UserStates, catalogue: Catalogue, k: int) -> Found:
    """The best of what a way found that may be added and is not clicked; users without any get empty lists.

    What came without a score is scored by s(u, v), the double check.
    """
    items, scores = lists_of(rows["items"]), _scores_of(rows["items"], rows["scores"])
    pools, scores_P = pooled(items, user_F, len(users.clicked), catalogue.size, scores)
    addable_P = catalogue.is_addable[pools.values_M]
    pools, scores_P = pools.keep(addable_P), scores_P[addable_P]
    unscored_P = np.isnan(scores_P)
    if unscored_P.any():
        scores_P[unscored_P] = dots(users.vectors_UD, pools.keep(unscored_P), catalogue.vectors_VD)
    own_P = among(pools.values_M, pools.owners, users.clicked, catalogue.size)
    ids, best = best_of_pools(pools.keep(~own_P), scores_P[~own_P], k)
    return Found(ids, best, outranking(pools.keep(own_P), scores_P[own_P], best, k))


def _scores_of(items: pa.ListArray, scores: pa.ListArray) -> Lists | None:
    """A score for every item, NaN where its list has none; None where no list has any."""
    if scores.null_count == len(scores):
        return None
    all_items, given = lists_of(items), lists_of(scores)
    values_M = np.full(len(all_items.values_M), np.nan, np.float32)
    values_M[np.repeat(given.lengths > 0, all_items.lengths)] = given.values_M
    return Lists(all_items.offsets_N1, values_M)
