"""What the difference of two models is worth: intervals and tests over users, who are the unit; no Spark here."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from divspa.errors import TrainingError

BOOTSTRAPS, FLIPS, AT_ONCE = 2_000, 10_000, 100
# Beyond this many signs fewer flips are made, but never fewer than 1,000: with so many users both tests agree.
SIGNS = 400_000_000
# What is compared, each at some k.
COMPARED = ("hr", "ndcg")
Verdict = Literal["better", "worse", "no difference shown"]


@dataclass(frozen=True)
class Comparison:
    """One model's figure against another's over the same test events.

    `low` and `high` bound the relative gain with 95 % confidence (percentile bootstrap over users); `p_t` is of the
    paired t-test over users, `p_permutation` of the sign-flip test.
    """

    value: float
    against: float
    low: float
    high: float
    p_t: float
    p_permutation: float

    @property
    def relative(self) -> float:
        """The relative gain; infinite over nothing."""
        return self.value / self.against - 1 if self.against else float("inf")


def compare(
    ours_T: NDArray[np.floating], theirs_T: NDArray[np.floating], user_T: NDArray[np.int64], seed: int
) -> Comparison:
    """Compare two models by their gains at T test events of the users `user_T`.

    The figure is the mean over events. Events of one user are not independent, so users are drawn, flipped and tested
    as wholes: the t-test and the sign flips work on the sums of a user's differences. Models that were trained with
    several seeds are compared by each event's mean over the seeds. With fewer than two users, or no difference at all,
    both p are 1. Raises TrainingError for gains that are not finite.
    """
    if not (np.isfinite(ours_T).all() and np.isfinite(theirs_T).all()):
        raise TrainingError("A gain that is compared is not finite", remedy="look at the ranks that it was made of")
    _, user_T = np.unique(user_T, return_inverse=True)
    ours_U, theirs_U = (np.bincount(user_T, weights=gains_T).astype(np.float64) for gains_T in (ours_T, theirs_T))
    difference_U = ours_U - theirs_U
    rng = np.random.default_rng(seed)
    low, high = _bootstrap(ours_U, theirs_U, rng)
    p_t, p_permutation = 1.0, 1.0
    if len(difference_U) > 1 and np.any(difference_U):
        p_t = _t_test(difference_U)
        p_permutation = _sign_flips(difference_U, rng)
    value, against = float(ours_U.sum() / len(user_T)), float(theirs_U.sum() / len(user_T))
    return Comparison(value, against, low, high, p_t, p_permutation)


def holm(p_values: list[float]) -> list[float]:
    """The p values of a family of tests, raised so that one false alarm among all has their level (Holm 1979)."""
    order = np.argsort(p_values)
    raised = np.sort(p_values) * np.arange(len(p_values), 0, -1)
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(np.maximum.accumulate(raised), 1.0)
    return adjusted.tolist()


def verdict(difference: float, p_value: float, level: float = 0.05) -> Verdict:
    """The only source of these words in reports; `p_value` is already corrected for the number of tests."""
    if not p_value < level:
        return "no difference shown"
    return "better" if difference > 0 else "worse"


def _t_test(difference_U: NDArray[np.float64]) -> float:
    spread = difference_U.std(ddof=1) / np.sqrt(len(difference_U))
    t = difference_U.mean() / spread if spread else np.inf
    return float(2 * stats.t.sf(abs(t), len(difference_U) - 1))


def _bootstrap(
    ours_U: NDArray[np.float64], theirs_U: NDArray[np.float64], rng: np.random.Generator
) -> tuple[float, float]:
    """Bounds of the relative gain: users drawn with replacement. Events per user cancel out of a ratio of sums."""
    users = len(ours_U)
    ratios = []
    for _ in range(BOOTSTRAPS // AT_ONCE):
        counts_RU = rng.multinomial(users, np.full(users, 1 / users), AT_ONCE)
        sums_R = counts_RU @ theirs_U
        ratios.append(np.divide(counts_RU @ ours_U, sums_R, out=np.full(AT_ONCE, np.inf), where=sums_R > 0) - 1)
    low, high = np.percentile(np.concatenate(ratios), [2.5, 97.5], method="nearest")
    return float(low), float(high)


def _sign_flips(difference_U: NDArray[np.float64], rng: np.random.Generator) -> float:
    """The two-sided chance of so large a sum when the sign of every user's difference is a coin's."""
    observed = abs(difference_U.sum())
    flips = int(np.clip(SIGNS // len(difference_U), 1_000, FLIPS))
    reached = 0
    for _ in range(flips // AT_ONCE):
        signs_RU = rng.integers(0, 2, (AT_ONCE, len(difference_U)), dtype=np.int8) * 2 - 1
        reached += int((np.abs(signs_RU @ difference_U) >= observed * (1 - 1e-12)).sum())
    return (reached + 1) / (flips // AT_ONCE * AT_ONCE + 1)
