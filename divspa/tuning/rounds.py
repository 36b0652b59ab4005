"""The plan of successive halving, and what a choice among noisy scores rests on; knows no Spark and no torch."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Of the settings of a round one in so many goes on, until no more than these are left.
ONE_IN, FINALISTS = 3, 3
# A setting takes the place of an earlier one, or a choice no longer holds, by so many standard errors.
MARGIN = 0.5
CONTROL = -1


@dataclass(frozen=True)
class Round:
    """So many settings beside the control, each trained on so many pairs that no earlier round had."""

    settings: int
    pairs: int


def plan(settings: int, budget: float, pairs: int) -> list[Round]:
    """The rounds: each may spend an equal part of `budget`, which counts the pairs of all trials together.

    Together they take no more than the `pairs` that there are; every round has at least one.
    """
    tried = [settings]
    while tried[-1] > FINALISTS:
        tried.append(max(FINALISTS, math.ceil(tried[-1] / ONE_IN)))
    wanted = [budget / len(tried) / (count + 1) for count in tried]
    fitting = min(1.0, pairs / sum(wanted))
    return [Round(count, max(1, int(each * fitting))) for count, each in zip(tried, wanted, strict=True)]


def ahead(gains_E: NDArray[np.float64], others_E: NDArray[np.float64], users_E: NDArray[np.int64]) -> float:
    """How far one setting is ahead of another on the same events, in standard errors of the difference; 0 if equal.

    Events of one user, such as a basket, are not independent: the error is that of the users' sums.
    """
    _, user_E = np.unique(users_E, return_inverse=True)
    difference_U = np.bincount(user_E, gains_E - others_E)
    error = math.sqrt(float(difference_U @ difference_U))
    return float(difference_U.sum()) / error if error else 0.0


def best_first(gains: Mapping[int, NDArray[np.float64]]) -> list[int]:
    """The trials from the highest mean gain down; ties by place."""
    return sorted(gains, key=lambda trial: (-float(gains[trial].mean()), trial))


def settled(gains: Mapping[int, NDArray[np.float64]], users_E: NDArray[np.int64]) -> int:
    """The trial to choose: the earliest that the best is not ahead of by more than MARGIN.

    Trials stand in the order in which they are trusted; so of two that the events cannot tell apart, the one that a
    person gave or that stands first is taken.
    """
    best = best_first(gains)[0]
    return next(trial for trial in sorted(gains) if ahead(gains[best], gains[trial], users_E) <= MARGIN)
