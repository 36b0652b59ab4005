"""What is needed of a user to augment the user's pairs, brought together in one pass over rows sorted by user."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from divspa.arrow import lists_of, matrix, packed, packed_rows, unpacked, whole_groups
from divspa.augmentation.catalogue import Catalogue, among, best_of_pools, dots
from divspa.lists import Lists, offsets_of

# The kinds of rows about a user, in their order: own vector and clicks; what u2i found; what one neighbour clicked.
OWN, FOUND, NEIGHBOUR = range(3)
STATE_SCHEMA = (
    "user_key bigint, vector binary, clicked binary, u2i_ids binary, u2i_scores binary, u2i_dropped bigint, "
    "u2u2i_ids binary, u2u2i_scores binary, u2u2i_dropped bigint"
)
STATE = [column.split()[0] for column in STATE_SCHEMA.split(", ")]


@dataclass(frozen=True)
class Found:
    """For each user the candidates of one way, best first, their scores, and how many clicked items outranked them."""

    ids: Lists
    scores: Lists
    dropped_U: NDArray[np.int64]


@dataclass(frozen=True)
class UserStates:
    """U users: vectors, what they clicked (ascending), and the candidates of the two ways that start from a user."""

    vectors_UD: NDArray[np.float32]
    clicked: Lists
    by_way: dict[str, Found]

    @classmethod
    def of(cls, states: pa.RecordBatch) -> "UserStates":
        return cls(
            unpacked(states["vector"], np.float32).values_M.reshape(states.num_rows, -1),
            unpacked(states["clicked"], np.int32),
            {
                way: Found(
                    unpacked(states[f"{way}_ids"], np.int32),
                    unpacked(states[f"{way}_scores"], np.float32),
                    states[f"{way}_dropped"].to_numpy(),
                )
                for way in ("u2i", "u2u2i")
            },
        )

    def as_batch(self, keys_U: NDArray[np.int64]) -> pa.RecordBatch:
        columns = [pa.array(keys_U), packed_rows(self.vectors_UD), packed(self.clicked)]
        for found in self.by_way.values():
            columns += [packed(found.ids), packed(found.scores), pa.array(found.dropped_U)]
        return pa.RecordBatch.from_arrays(columns, STATE)


def state_batches(batches: Iterable[pa.RecordBatch], catalogue: Catalogue, k: int) -> Iterator[pa.RecordBatch]:
    """One row a user from rows sorted by user and kind: user_key, kind, vector, items, scores."""
    for rows in whole_groups(batches, "user_key"):
        keys_U, user_R = np.unique(rows["user_key"].to_numpy(), return_inverse=True)
        kind_R = rows["kind"].to_numpy()
        own = rows.filter(pa.array(kind_R == OWN))
        vectors_UD, clicked = matrix(own["vector"]), lists_of(own["items"])
        found = rows.filter(pa.array(kind_R == FOUND))
        theirs = rows.filter(pa.array(kind_R == NEIGHBOUR))
        u2i = _found_by_search(found, user_R[kind_R == FOUND], vectors_UD, clicked, catalogue, k)
        pools = pooled(lists_of(theirs["items"]), user_R[kind_R == NEIGHBOUR], len(keys_U), catalogue.size)
        u2u2i = found_in_pools(pools, vectors_UD, clicked, catalogue, k)
        yield UserStates(vectors_UD, clicked, {"u2i": u2i, "u2u2i": u2u2i}).as_batch(keys_U)


def _found_by_search(
    rows: pa.RecordBatch,
    user_F: NDArray[np.int64],
    vectors_UD: NDArray[np.float32],
    clicked: Lists,
    catalogue: Catalogue,
    k: int,
) -> Found:
    """The results of u2i as they are; users without any get empty lists."""
    ids, scores = lists_of(rows["items"]), lists_of(rows["scores"])
    lengths_U = np.zeros(len(clicked), np.int64)
    lengths_U[user_F] = ids.lengths
    offsets = offsets_of(lengths_U)
    found_scores = Lists(offsets, scores.values_M)
    dropped_U = _outranking(clicked, dots(vectors_UD, clicked, catalogue.vectors_VD), found_scores, k)
    return Found(Lists(offsets, ids.values_M), found_scores, dropped_U)


def pooled(theirs: Lists, user_N: NDArray[np.int64], users: int, size: int) -> Lists:
    """Each user's neighbours' items, every item once and ascending."""
    keys_P = np.unique(np.repeat(user_N, theirs.lengths) * size + theirs.values_M)
    return Lists(offsets_of(np.bincount(keys_P // size, minlength=users)), (keys_P % size).astype(np.int32))


def found_in_pools(
    pools: Lists, vectors_UD: NDArray[np.float32], clicked: Lists, catalogue: Catalogue, k: int
) -> Found:
    """The best of the pools that may be added and is not clicked, by the user's own score (the double check)."""
    pools = pools.keep(catalogue.is_addable[pools.values_M])
    own_P = among(pools.values_M, pools.owners, clicked, catalogue.size)
    ids, scores = best_of_pools(vectors_UD, pools.keep(~own_P), catalogue.vectors_VD, k)
    passed_over = pools.keep(own_P)
    dropped_U = _outranking(passed_over, dots(vectors_UD, passed_over, catalogue.vectors_VD), scores, k)
    return Found(ids, scores, dropped_U)


def _outranking(items: Lists, scores_P: NDArray[np.float32], found: Lists, k: int) -> NDArray[np.int64]:
    """How many of these items score above the last of k found ones; all of them where fewer than k were found."""
    full_U = found.lengths >= k
    last_U = np.full(len(found), -np.inf, np.float32)
    last_U[full_U] = found.values_M[found.offsets_N1[1:][full_U] - 1]
    return np.bincount(items.owners[scores_P > last_U[items.owners]], minlength=len(items))
