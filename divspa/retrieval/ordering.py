"""One total order over candidates, score descending and then position ascending, packed into sortable integers.

A key is 64 bits: the float32 score, mapped so that larger scores give smaller integers, over the candidate's position.
Sorting keys therefore breaks ties by itself, and the same way on every machine.
"""

import numpy as np
from numpy.typing import NDArray

NOTHING = np.uint64(0xFFFFFFFFFFFFFFFF)
SIGN = np.uint32(0x80000000)
ALL = np.uint32(0xFFFFFFFF)


def keys_of(scores: NDArray[np.float32], positions: NDArray[np.integer]) -> NDArray[np.uint64]:
    """Pack scores and positions (below 2**32) into keys; scores must not be NaN."""
    bits = (scores + np.float32(0)).view(np.uint32)  # adding zero makes -0.0 equal to 0.0
    ascending = np.where(bits & SIGN, ~bits, bits | SIGN)
    return ((ascending ^ ALL).astype(np.uint64) << np.uint64(32)) | positions.astype(np.uint64)


def scores_of(keys: NDArray[np.uint64]) -> NDArray[np.float32]:
    """The scores inside keys; NOTHING gives NaN."""
    ascending = (keys >> np.uint64(32)).astype(np.uint32) ^ ALL
    return np.where(ascending & SIGN, ascending ^ SIGN, ~ascending).astype(np.uint32).view(np.float32)


def positions_of(keys: NDArray[np.uint64]) -> NDArray[np.int64]:
    """The positions inside keys."""
    return (keys & np.uint64(ALL)).astype(np.int64)


def first_sorted(keys_BW: NDArray[np.uint64], k: int) -> NDArray[np.uint64]:
    """The k smallest keys of each row in order, as an array (B, k) that ends in NOTHING where a row has fewer."""
    best_BW = np.sort(keys_BW, axis=1)[:, :k]
    missing = k - best_BW.shape[1]
    return np.pad(best_BW, ((0, 0), (0, missing)), constant_values=NOTHING) if missing else best_BW
