"""How a model scores the whole catalogue for a batch of users."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa

from divspa.arrow import lists_of, matrix
from divspa.linear.recommend import Weights
from divspa.publishing.fusion import fuse, reciprocal_ranks, top_items

Pairs = tuple[np.ndarray, np.ndarray]


class Scorer(Protocol):
    """Scores [U, N] of the N catalogue items, writable; `reads` are the columns of the users that it looks at.

    `hidden` are the (user row, item row) pairs that are left out of the users' lists.
    """

    @property
    def reads(self) -> tuple[str, ...]: ...

    def __call__(self, users: pa.RecordBatch, hidden: Pairs) -> np.ndarray: ...


@dataclass(frozen=True)
class ByVectors:
    """The inner products of users, whose vectors are in this column, and items."""

    items_ND: np.ndarray
    column: str = "vector"

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.column,)

    def __call__(self, users: pa.RecordBatch, hidden: Pairs) -> np.ndarray:
        return matrix(users[self.column]) @ self.items_ND.T


@dataclass(frozen=True)
class ByWeights:
    """The linear model's sums over what each user had, filled up by clicks."""

    rows_VN: Weights
    clicks_N: np.ndarray
    reads: tuple[str, ...] = ("had",)

    def __call__(self, users: pa.RecordBatch, hidden: Pairs) -> np.ndarray:
        return self.rows_VN.filled_up(lists_of(users["had"]), self.clicks_N)


@dataclass(frozen=True)
class ByFusion:
    """The best `depth` items of each part, fused by reciprocal rank; the rest follows in the order of the first."""

    parts: tuple[Scorer, ...]
    weights: tuple[float, ...]
    depth: int

    @property
    def reads(self) -> tuple[str, ...]:
        return tuple(column for part in self.parts for column in part.reads)

    def __call__(self, users: pa.RecordBatch, hidden: Pairs) -> np.ndarray:
        first_UN, gains = np.zeros(0), []
        for part in reversed(self.parts):
            first_UN = part(users, hidden)
            listed_UN = first_UN.copy()
            listed_UN[hidden] = -np.inf
            gains.insert(0, reciprocal_ranks(top_items(listed_UN, self.depth), listed_UN.shape[1]))
        return fuse(gains, self.weights, first_UN)
