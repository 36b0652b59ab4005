"""What the difference of two models is worth: intervals and tests over users, who are the unit; no Spark here."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from divspa.errors import TrainingError

BOOTSTRAPS, FLIPS, AT_ONCE = 2_000, 10_000, 100
# Of more users groups of equal size, made by chance, are drawn and flipped: their sums vary as those of users do.
MOST_UNITS = 20_000
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
    """Compare two models by their gains at T test events of the users `user_T`, as `compare_all` does."""
    return compare_all([(ours_T, theirs_T)], user_T, seed)[0]


def compare_all(
    pairs: Sequence[tuple[NDArray[np.floating], NDArray[np.floating]]], user_T: NDArray[np.int64], seed: int
) -> list[Comparison]:
    """Compare models pair by pair, by their gains at the same T test events, with the same draws of the users `user_T`.

    The figure is the mean over events. Events of one user are not independent, so users are drawn, flipped and tested
    as wholes: the t-test and the sign flips work on the sums of a user's differences. Models that were trained with
    several seeds are compared by each event's mean over the seeds. With fewer than two users, or no difference at all,
    both p are 1. Raises TrainingError for gains that are not finite.
    """
    if not all(np.isfinite(gains_T).all() for pair in pairs for gains_T in pair):
        raise TrainingError("A gain that is compared is not finite", remedy="look at the ranks that it was made of")
    if not pairs:
        return []
    users, user_T = np.unique(user_T, return_inverse=True)
    ours_UC, theirs_UC = (_sums([pair[side] for pair in pairs], user_T, len(users)) for side in (0, 1))
    rng = np.random.default_rng(seed)
    unit_U = np.arange(len(users))
    if len(users) > MOST_UNITS:
        unit_U = rng.permutation(len(users)) % MOST_UNITS
    ours_GC, theirs_GC = (_sums(list(sums_UC.T), unit_U, int(unit_U.max()) + 1) for sums_UC in (ours_UC, theirs_UC))
    low_C, high_C = _bootstrap(ours_GC, theirs_GC, rng)
    p_C = _sign_flips(ours_GC - theirs_GC, rng)
    found = []
    for place, difference_U in enumerate((ours_UC - theirs_UC).T):
        differ = len(users) > 1 and np.any(difference_U)
        p_t, p_permutation = (_t_test(difference_U), float(p_C[place])) if differ else (1.0, 1.0)
        value, against = (float(sums_UC[:, place].sum() / len(user_T)) for sums_UC in (ours_UC, theirs_UC))
        found.append(Comparison(value, against, float(low_C[place]), float(high_C[place]), p_t, p_permutation))
    return found


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


def _sums(values: Sequence[NDArray[np.floating]], unit_T: NDArray[np.int64], units: int) -> NDArray[np.float64]:
    """The sums of C arrays [T] by unit, as [units, C]."""
    return np.stack([np.bincount(unit_T, weights=each_T, minlength=units) for each_T in values], 1).astype(np.float64)


def _bootstrap(
    ours_GC: NDArray[np.float64], theirs_GC: NDArray[np.float64], rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Bounds of the relative gains [C]: units drawn with replacement. Events per unit cancel out of a ratio of sums."""
    units = len(ours_GC)
    ratios = []
    for _ in range(BOOTSTRAPS // AT_ONCE):
        counts_RG = rng.multinomial(units, np.full(units, 1 / units), AT_ONCE).astype(np.float64)
        sums_RC = counts_RG @ theirs_GC
        ratios.append(np.divide(counts_RG @ ours_GC, sums_RC, out=np.full_like(sums_RC, np.inf), where=sums_RC > 0) - 1)
    low_C, high_C = np.percentile(np.concatenate(ratios), [2.5, 97.5], axis=0, method="nearest")
    return low_C, high_C


def _sign_flips(difference_GC: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """The two-sided chances [C] of so large a sum when the sign of every unit's difference is a coin's."""
    observed_C = np.abs(difference_GC.sum(0)) * (1 - 1e-12)
    reached_C = np.zeros(difference_GC.shape[1], np.int64)
    for _ in range(FLIPS // AT_ONCE):
        signs_RG = rng.integers(0, 2, (AT_ONCE, len(difference_GC)), dtype=np.int8) * 2 - 1
        reached_C += (np.abs(signs_RG @ difference_GC) >= observed_C).sum(0)
    return (reached_C + 1) / (FLIPS + 1)
