"""The double check: candidates merged across the ways, scored by the model and weighted (Eq. 3)."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from divspa.schemas.augmented_positives import SCORE_FLOOR


@dataclass(frozen=True)
class Sampled:
    """S sampled positives a row, m for each way, the real ones first; item 0, score 0 and weight 0 are padding.

    `sources_NS` is a bit mask of the ways that drew the item, the first way's bit being the lowest.
    """

    items_NS: np.ndarray
    scores_NS: np.ndarray
    weights_NS: np.ndarray
    sources_NS: np.ndarray


def merge_and_weigh(
    items_NS: np.ndarray,
    ways_S: np.ndarray,
    scores_NS: np.ndarray,
    weighting: str,
    own_NS: np.ndarray | None = None,
    part: float = 1.0,
) -> Sampled:
    """Merge an item that several ways drew into one entry that keeps its sources, and weigh what remains.

    `items_NS` is 0 where a way found nothing; `ways_S` says which way, by place, each column is of. Where the ways' own
    scores `own_NS` are given, this part of the weights follows them, and the rest s(u, v).
    """
    same_NSS = (items_NS[:, :, None] == items_NS[:, None, :]) & (items_NS[:, :, None] > 0)
    earlier_SS = np.tri(len(ways_S), k=-1, dtype=bool)
    kept_NS = (items_NS > 0) & ~(same_NSS & earlier_SS).any(2)
    sources_NS = np.bitwise_or.reduce(np.where(same_NSS, np.int64(1) << ways_S, 0), axis=2)
    order_NS = np.argsort(~kept_NS, axis=1, kind="stable")

    def merged(values_NS: np.ndarray) -> np.ndarray:
        return np.where(kept_NS, values_NS, 0)[np.arange(len(order_NS))[:, None], order_NS]

    scores_NS = merged(scores_NS)
    weights_NS = normalised_weights(scores_NS, merged(kept_NS) > 0, weighting)
    if own_NS is not None:
        shares_NS = shares_of_ways(items_NS, ways_S, own_NS, weighting)
        of_ways_NS = np.einsum("nsz,nz->ns", same_NSS.astype(np.float32), shares_NS)
        weights_NS = (1 - part) * weights_NS + part * merged(of_ways_NS)
    return Sampled(merged(items_NS).astype(np.int32), scores_NS.astype(np.float32), weights_NS, merged(sources_NS))


def shares_of_ways(items_NS: np.ndarray, ways_S: np.ndarray, own_NS: np.ndarray, weighting: str) -> np.ndarray:
    """Weights [N, S] by the ways' own scores, which are of different scales: the ways of a row have equal shares of it.

    Within a way they are Eq. 3 of the scores over the largest of them.
    """
    shares_NS = np.zeros(items_NS.shape, np.float32)
    for way in np.unique(ways_S):
        mine_S = ways_S == way
        found_NM, own_NM = items_NS[:, mine_S] > 0, own_NS[:, mine_S]
        largest_N1 = np.where(found_NM, np.abs(own_NM), 0).max(axis=1, keepdims=True)
        scaled_NM = own_NM / np.where(largest_N1 > 0, largest_N1, 1)
        shares_NS[:, mine_S] = normalised_weights(scaled_NM, found_NM, weighting)
    total_N1 = shares_NS.sum(axis=1, keepdims=True)
    return shares_NS / np.where(total_N1 > 0, total_N1, 1)


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


def source_names(sources_N: np.ndarray, ways: list[str]) -> pa.Array:
    """The bit masks of Sampled as the names of their ways, joined by +; of no way, an empty one."""
    encoded = pa.array(sources_N).dictionary_encode()
    masks = encoded.dictionary.to_pylist()
    names = ["+".join(way for bit, way in enumerate(ways) if mask >> bit & 1) for mask in masks]
    return pa.array(names, pa.string()).take(encoded.indices)
