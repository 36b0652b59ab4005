"""What every task knows of the items: their vectors, and what the ways that start from an item found for each."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from divspa.lists import Lists
from divspa.retrieval.kernel import Shard, build_shard

Complete = Callable[["Catalogue", NDArray[np.integer], Lists, int], tuple[Lists, Lists]]


@dataclass(frozen=True)
class Neighbours:
    """The W addable items that one way found for each of V items, best first, with their scores; 0 pads.

    `complete`, where the way has it, finds the k best for the pairs whose user clicked so many of them that fewer than
    k are left: (catalogue, clicked items [N], the N users' clicks, k) -> ids and scores.
    """

    ids_VW: NDArray[np.int32]
    scores_VW: NDArray[np.float32]
    complete: Complete | None = None


@dataclass(frozen=True)
class Catalogue:
    """V items by index, of which `addable_A` (ascending) may be added as positives; item 0 is padding.

    `popularity_V` has the training clicks. `neighbours` holds what each way that starts from an item found: more than
    its top k, because a user's clicked items are passed over.
    """

    item_ids: pa.StringArray
    vectors_VD: NDArray[np.float32]
    addable_A: NDArray[np.int64]
    popularity_V: NDArray[np.int64]
    neighbours: Mapping[str, Neighbours] = field(default_factory=dict)

    @property
    def size(self) -> int:
        return len(self.vectors_VD)

    @cached_property
    def is_addable(self) -> NDArray[np.bool_]:
        """Which of the V items may be added (V,)."""
        return np.bincount(self.addable_A, minlength=self.size) > 0

    def rarity(self, discount: float) -> NDArray[np.float64]:
        """1 / clicks^discount of the V items (V,); one that nobody clicked counts as clicked once."""
        if discount not in self._rarities:
            self._rarities[discount] = np.maximum(self.popularity_V, 1.0) ** -discount
        return self._rarities[discount]

    @cached_property
    def _rarities(self) -> dict[float, NDArray[np.float64]]:
        return {}

    @cached_property
    def has_directions(self) -> bool:
        """Whether the vectors have unit length, as those of every cosine model."""
        lengths_V = np.linalg.norm(self.vectors_VD, axis=1)
        return bool(np.allclose(lengths_V[lengths_V > 0], 1, atol=1e-3))

    @cached_property
    def directions(self) -> NDArray[np.float32]:
        """The vectors at unit length, by which items are near each other."""
        if self.has_directions:
            return self.vectors_VD
        lengths_V1 = np.linalg.norm(self.vectors_VD, axis=1, keepdims=True)
        return self.vectors_VD / np.maximum(lengths_V1, np.finfo(np.float32).tiny)

    @cached_property
    def shard(self) -> Shard:
        return build_shard(self.addable_A, self.directions[self.addable_A])
