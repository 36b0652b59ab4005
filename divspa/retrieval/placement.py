"""Which shards a row of the index is placed in, and which shards a query is sent to."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from divspa.lists import Lists


@dataclass(frozen=True)
class Routes:
    """M deliveries: row `rows_M[i]` of a batch goes to `slots_M[i]`, there concerning `clusters[i]` (empty: all)."""

    rows_M: NDArray[np.int64]
    slots_M: NDArray[np.int64]
    clusters: Lists


class Placement(Protocol):
    """A division of an index over `slots` tasks, such that a query meets each row that concerns it exactly once."""

    @property
    def slots(self) -> int: ...

    @property
    def clustered(self) -> bool:
        """Whether a query is limited to the clusters that its route names."""
        ...

    def place(self, ids_N: NDArray[np.int64], vectors_ND: NDArray[np.float32]) -> Routes:
        """The slots of index rows."""
        ...

    def route(self, ids_N: NDArray[np.int64], vectors_ND: NDArray[np.float32], wanted_N: NDArray[np.int64]) -> Routes:
        """The slots of queries, which must together hold `wanted_N` rows for them, or all rows if fewer exist."""
        ...


@dataclass(frozen=True)
class EvenPlacement:
    """Every query meets every row: the index is cut into shards by id, and each shard is copied for shares of queries.

    Cutting alone would send each query to as many tasks as the cluster has cores.
    """

    shards: int
    copies: int
    clustered: bool = False

    @property
    def slots(self) -> int:
        return self.shards * self.copies

    def place(self, ids_N: NDArray[np.int64], vectors_ND: NDArray[np.float32]) -> Routes:
        first_N = spread(ids_N, self.shards) * self.copies
        return _everywhere(first_N[:, None] + np.arange(self.copies))

    def route(self, ids_N: NDArray[np.int64], vectors_ND: NDArray[np.float32], wanted_N: NDArray[np.int64]) -> Routes:
        copy_N = spread(ids_N, self.copies)
        return _everywhere(copy_N[:, None] + np.arange(self.shards) * self.copies)


def spread(ids_N: NDArray[np.int64], parts: int) -> NDArray[np.int64]:
    """An even number below `parts` for each id, by a hash (the finaliser of splitmix64)."""
    hashed = ids_N.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    hashed = (hashed ^ (hashed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    hashed = (hashed ^ (hashed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((hashed ^ (hashed >> np.uint64(31))) % np.uint64(parts)).astype(np.int64)


def _everywhere(slots_NS: NDArray[np.int64]) -> Routes:
    count, slots = slots_NS.shape
    no_clusters = Lists(np.zeros(count * slots + 1, np.int64), np.zeros(0, np.int32))
    return Routes(np.repeat(np.arange(count), slots), slots_NS.ravel(), no_clusters)
