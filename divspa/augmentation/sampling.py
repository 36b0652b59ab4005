"""Positive sampling: m of the top k, without replacement, drawn from a hash and so from nothing else (Section 3.2)."""

import numpy as np
from scipy import stats

MIX = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))
GOLDEN = np.uint64(0x9E3779B97F4A7C15)
LEAST_WEIGHT = 1e-6


def hashed_uniforms(parts: list[np.ndarray | int]) -> np.ndarray:
    """Uniform numbers in (0, 1) from integers that broadcast together, by the SplitMix64 mixer.

    The same integers give the same number on any machine, in any partition and in any order.
    """
    with np.errstate(over="ignore"):
        state = np.zeros((), np.uint64)
        for part in parts:
            value = np.asarray(part).astype(np.int64).view(np.uint64)
            state = _mix((state ^ value) + GOLDEN)
    return ((state >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53


def rank_weights(method: str, scores_NK: np.ndarray, alpha: float) -> np.ndarray:
    """How likely each of K candidates, best first, is to be drawn, up to a factor. Returns [N or 1, K], positive.

    `uniform`: 1/K each. `importance`: the way's own relevance score; one at or below 0 keeps a tiny chance. `beta`: the
    mass that beta(alpha, alpha), stretched over the K ranks, gives to the candidate's rank.
    """
    top_k = scores_NK.shape[1]
    if method == "uniform":
        return np.ones((1, top_k))
    if method == "importance":
        return np.maximum(scores_NK.astype(np.float64), LEAST_WEIGHT)
    mass_K = np.diff(stats.beta(alpha, alpha).cdf(np.linspace(0, 1, top_k + 1)))
    return np.maximum(mass_K, LEAST_WEIGHT)[None]


def sample_without_replacement(
    weights: np.ndarray, usable_NK: np.ndarray, uniforms_NK: np.ndarray, m: int
) -> np.ndarray:
    """Draw m columns of each row one after the other, each with chance proportional to its weight among those left.

    `weights` is [N, K] or [1, K]. Returns columns [N, m], -1 where fewer than m are usable. This is Efraimidis and
    Spirakis' rule: the m smallest of -log(u) / w.
    """
    keys_NK = np.where(usable_NK, -np.log(uniforms_NK) / weights, np.inf)
    m = min(m, keys_NK.shape[1])
    smallest_NM = np.argpartition(keys_NK, m - 1, axis=1)[:, :m]
    order_NM = np.argsort(np.take_along_axis(keys_NK, smallest_NM, 1), axis=1, kind="stable")
    chosen_NM = np.take_along_axis(smallest_NM, order_NM, 1)
    return np.where(np.isfinite(np.take_along_axis(keys_NK, chosen_NM, 1)), chosen_NM, -1)


def _mix(x: np.ndarray) -> np.ndarray:
    x = (x ^ (x >> np.uint64(30))) * MIX[0]
    x = (x ^ (x >> np.uint64(27))) * MIX[1]
    return x ^ (x >> np.uint64(31))
