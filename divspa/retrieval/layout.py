"""The division of clusters over tasks: neighbours together, so that a query visits few tasks, and rows evenly."""

import numpy as np
from numpy.typing import NDArray

from divspa.lists import Lists, offsets_of


def divide(centroids_CD: NDArray[np.float32], sizes_C: NDArray[np.int64], slots: int) -> Lists:
    """The slots of each cluster's pieces; a cluster larger than half a slot's share is cut so that no task drowns."""
    share = max(sizes_C.sum() / (2 * slots), 1)
    pieces_C = np.maximum(np.ceil(sizes_C / share), 1).astype(np.int64)
    cluster_P = np.repeat(np.arange(len(sizes_C)), pieces_C)
    slot_P = np.zeros(len(cluster_P), np.int64)
    _bisect(centroids_CD[cluster_P], (sizes_C / pieces_C)[cluster_P], np.arange(len(cluster_P)), slots, 0, slot_P)
    return Lists(offsets_of(pieces_C), slot_P)


def _bisect(
    points_PD: NDArray[np.float32],
    weights_P: NDArray[np.float64],
    pieces_B: NDArray[np.int64],
    slots: int,
    first: int,
    slot_P: NDArray[np.int64],
) -> None:
    """Give these pieces the slots from `first` on, halving them across their longest direction."""
    if slots == 1 or not len(pieces_B):
        slot_P[pieces_B] = first
        return
    points_BD, weights_B = points_PD[pieces_B].astype(np.float64), weights_P[pieces_B] + 1e-9
    direction_D = np.linalg.svd(points_BD - points_BD.mean(axis=0), full_matrices=False)[2][0]
    order_B = np.argsort(points_BD @ direction_D, kind="stable")
    left = slots // 2
    middles_B = np.cumsum(weights_B[order_B]) - weights_B[order_B] / 2
    cut = int(np.searchsorted(middles_B, weights_B.sum() * left / slots))
    _bisect(points_PD, weights_P, pieces_B[order_B[:cut]], left, first, slot_P)
    _bisect(points_PD, weights_P, pieces_B[order_B[cut:]], slots - left, first + left, slot_P)
