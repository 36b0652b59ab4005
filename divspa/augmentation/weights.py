"""The double check: candidates merged across the ways, scored by the model and weighted (Eq. 3)."""

from dataclasses import dataclass

import numpy as np

from schemas.augmented_positives import SCORE_FLOOR

WAYS = ("u2i", "i2i", "u2u2i")
SOURCES = tuple("+".join(way for bit, way in enumerate(WAYS) if mask >> bit & 1) for mask in range(2 ** len(WAYS)))


@dataclass(frozen=True)
class Sampled:
    """S = 3 * m sampled positives a row, the real ones first; item 0, score 0 and weight 0 are padding.

    `sources_NS` is a bit mask of the ways that found the item, an index into SOURCES.
    """

    items_NS: np.ndarray
    scores_NS: np.ndarray
    weights_NS: np.ndarray
    sources_NS: np.ndarray


def merge_and_weigh(items_NS: np.ndarray, ways_S: np.ndarray, scores_NS: np.ndarray, weighting: str) -> Sampled:
    """Merge an item that several ways drew into one entry that keeps its sources, and weigh what remains.

    `items_NS` is 0 where a way found nothing; `ways_S` says which way each column is of.
    """
    same_NSS = (items_NS[:, :, None] == items_NS[:, None, :]) & (items_NS[:, :, None] > 0)
    earlier_SS = np.tri(len(ways_S), k=-1, dtype=bool)
    kept_NS = (items_NS > 0) & ~(same_NSS & earlier_SS).any(2)
    sources_NS = np.bitwise_or.reduce(np.where(same_NSS, 1 << ways_S, 0), axis=2)
    order_NS = np.argsort(~kept_NS, axis=1, kind="stable")
    kept_NS = np.take_along_axis(kept_NS, order_NS, 1)
    items_NS, scores_NS, sources_NS = (
        np.where(kept_NS, np.take_along_axis(values, order_NS, 1), 0) for values in (items_NS, scores_NS, sources_NS)
    )
    return Sampled(
        items_NS.astype(np.int32),
        scores_NS.astype(np.float32),
        normalised_weights(scores_NS, kept_NS, weighting),
        sources_NS,
    )


def normalised_weights(scores_NS: np.ndarray, kept_NS: np.ndarray, weighting: str) -> np.ndarray:
    """Weights [N, S] of Eq. 3, which sum to 1 over a row that keeps anything, and are 0 elsewhere.

    The paper divides s(u, v_i) by the sum of the scores, which is undefined for negative cosines: [.2, -.1, -.05] would
    give [4, -2, -1]. `clamp` raises every score to at least SCORE_FLOOR first; `softmax` takes exp(s) instead.
    """
    scores_NS = scores_NS.astype(np.float64)
    raised_NS = np.exp(scores_NS) if weighting == "softmax" else np.maximum(scores_NS, SCORE_FLOOR)
    raised_NS = np.where(kept_NS, raised_NS, 0.0)
    total_N1 = raised_NS.sum(1, keepdims=True)
    return (raised_NS / np.where(total_N1 > 0, total_N1, 1.0)).astype(np.float32)
