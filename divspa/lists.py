"""Lists of different lengths laid end to end, so that a batch of them is two arrays and never Python lists."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Lists:
    """N lists: list i is `values_M[offsets_N1[i] : offsets_N1[i + 1]]`, with the offsets starting at 0."""

    offsets_N1: NDArray[np.int64]
    values_M: NDArray

    def __len__(self) -> int:
        return len(self.offsets_N1) - 1

    @property
    def lengths(self) -> NDArray[np.int64]:
        return np.diff(self.offsets_N1)

    @property
    def owners(self) -> NDArray[np.int64]:
        """For each value the number of the list that holds it."""
        return np.repeat(np.arange(len(self)), self.lengths)

    def take(self, rows_B: NDArray[np.int64], most_B: NDArray[np.int64] | None = None) -> "Lists":
        """The lists with these numbers, in this order; with `most_B`, only so many of each one's first values."""
        lengths_B = self.lengths[rows_B] if most_B is None else np.minimum(self.lengths[rows_B], most_B)
        offsets_B1 = offsets_of(lengths_B)
        starts_B = self.offsets_N1[rows_B] - offsets_B1[:-1]
        return Lists(offsets_B1, self.values_M[np.arange(offsets_B1[-1]) + np.repeat(starts_B, lengths_B)])

    def keep(self, mask_M: NDArray[np.bool_]) -> "Lists":
        """The same lists without the values that the mask leaves out."""
        kept_M1 = np.concatenate([[0], np.cumsum(mask_M)])
        return Lists(kept_M1[self.offsets_N1], self.values_M[mask_M])

    def append(self, values_N: NDArray) -> "Lists":
        """The same lists, each with one more value at its end."""
        return Lists(
            self.offsets_N1 + np.arange(len(self) + 1), np.insert(self.values_M, self.offsets_N1[1:], values_N)
        )

    def padded(self, fill: object, width: int | None = None) -> NDArray:
        """An array (N, width) whose rows are cut there or end in `fill`; by default as wide as the longest list."""
        lengths_N = self.lengths
        width = int(lengths_N.max(initial=0)) if width is None else width
        place_NW, taken_NW = self.offsets_N1[:-1, None] + np.arange(width), np.arange(width) < lengths_N[:, None]
        full_NW = np.full((len(self), width), fill, dtype=self.values_M.dtype)
        full_NW[taken_NW] = self.values_M[place_NW[taken_NW]]
        return full_NW


def offsets_of(lengths_N: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where lists of these lengths start, and where the last one ends."""
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths_N, dtype=np.int64)])


def empty_lists(count: int, dtype: type) -> Lists:
    """`count` lists without values."""
    return Lists(np.zeros(count + 1, np.int64), np.zeros(0, dtype))
