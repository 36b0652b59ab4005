"""What was known of each user strictly before a moment: one pass over sorted Arrow batches, without Spark."""

import numpy as np

from divspa.schemas.vocabulary import FIRST_INDEX


class Timeline:
    """The rows of whole users, sorted by user and time: R rows, of which E are events with an item, and U users.

    A moment m is given as `cut_M`, the number of the first row that may not be seen, and its user as `user_M`.
    Rows of one instant never see each other.
    """

    def __init__(self, key_R: np.ndarray, at_R: np.ndarray, item_R: np.ndarray) -> None:
        row_R = np.arange(len(key_R))
        new_user_R, new_instant_R = np.ones((2, len(key_R)), bool)
        new_user_R[1:] = key_R[1:] != key_R[:-1]
        new_instant_R[1:] = new_user_R[1:] | (at_R[1:] != at_R[:-1])
        self.at_R = at_R
        self.user_R = np.cumsum(new_user_R) - 1
        self.first_U = np.flatnonzero(new_user_R)
        self.end_U = np.append(self.first_U[1:], len(key_R))
        self.instant_R = np.maximum.accumulate(np.where(new_instant_R, row_R, 0))
        is_event_R = item_R >= FIRST_INDEX
        self.item_E = item_R[is_event_R]
        self.events_before = np.append(0, np.cumsum(is_event_R))

    def cut_at(self, time_U: np.ndarray) -> np.ndarray:
        """The cut of a moment of each user."""
        return self.first_U + np.add.reduceat((self.at_R < time_U[self.user_R]).astype(np.int64), self.first_U)

    def newest(self, marked_R: np.ndarray, cut_M: np.ndarray) -> np.ndarray:
        """The number, among the marked rows, of the newest one before each moment; every user's first is marked."""
        return np.r_[0, np.cumsum(marked_R)][cut_M] - 1

    def history(self, cut_M: np.ndarray, user_M: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
        """The last events before each moment, oldest first: [M, length], padded with 0, and how many are real [M]."""
        return self._last(self.item_E, self.events_before, cut_M, user_M, length)

    def sequence(self, codes_VW: np.ndarray, cut_M: np.ndarray, user_M: np.ndarray, length: int) -> np.ndarray:
        """The last known codes of past items before each moment [M, length]; `codes_VW` has those of every item."""
        codes_EW = codes_VW[self.item_E]
        known_EW = codes_EW >= FIRST_INDEX
        codes_before = np.r_[0, np.cumsum(known_EW.sum(1))][self.events_before]
        return self._last(codes_EW[known_EW], codes_before, cut_M, user_M, length)[0]

    def clicked(self, cut_U: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Each user's distinct items before a moment, ascending: flat values and U + 1 offsets."""
        events_U = self.events_before[self.end_U] - self.events_before[self.first_U]
        user_E = np.repeat(np.arange(len(self.first_U)), events_U)
        seen_E = np.arange(len(self.item_E)) < self.events_before[cut_U][user_E]
        pair = np.unique(user_E[seen_E] << 32 | self.item_E[seen_E])
        counts_U = np.bincount(pair >> 32, minlength=len(cut_U))
        return (pair & 0xFFFFFFFF).astype(np.int32), np.r_[0, np.cumsum(counts_U)]

    def _last(
        self, values: np.ndarray, before: np.ndarray, cut_M: np.ndarray, user_M: np.ndarray, length: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """The last of the values before each cut; `before` has how many lie before each row."""
        end_M = before[cut_M]
        start_M = np.maximum(before[self.first_U[user_M]], end_M - length)
        place_ML = start_M[:, None] + np.arange(length)
        taken_ML = place_ML < end_M[:, None]
        out_ML = np.zeros((len(cut_M), length), np.int32)
        out_ML[taken_ML] = values[place_ML[taken_ML]]
        return out_ML, (end_M - start_M).astype(np.int32)


def strongest_of(group_N: np.ndarray, weight_N: np.ndarray) -> np.ndarray:
    """For each row the number of the row of its group that weighs most, the last of equals [N]."""
    order_N = np.lexsort((weight_N, group_N))
    ordered_N = group_N[order_N]
    is_last_N = np.r_[ordered_N[1:] != ordered_N[:-1], True]
    winners = order_N[is_last_N]
    return winners[np.searchsorted(ordered_N[is_last_N], group_N)]


def first_of_each(group_N: np.ndarray) -> np.ndarray:
    """Which rows are the first of their group [N]."""
    first_N = np.zeros(len(group_N), bool)
    first_N[np.unique(group_N, return_index=True)[1]] = True
    return first_N
