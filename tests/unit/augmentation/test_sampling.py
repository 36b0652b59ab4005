from itertools import permutations

import numpy as np
import pytest
from scipy import stats

from divspa.augmentation.sampling import hashed_uniforms, rank_weights, sample_without_replacement

DRAWS = 40_000


def draws(weights: np.ndarray, m: int, seed: int = 3) -> np.ndarray:
    weights_NK = np.tile(weights, (DRAWS, 1))
    uniforms_NK = hashed_uniforms([seed, np.arange(DRAWS)[:, None], np.arange(len(weights))])
    return sample_without_replacement(weights_NK, np.ones_like(weights_NK, bool), uniforms_NK, m)


def test_hashed_uniforms_are_uniform_and_independent() -> None:
    values = hashed_uniforms([1, np.arange(1000)[:, None], np.arange(100)])
    assert stats.kstest(values.ravel(), "uniform").pvalue > 1e-3
    assert abs(np.corrcoef(values[:, 0], values[:, 1])[0, 1]) < 0.1
    assert (values > 0).all() and (values < 1).all()


def test_hashed_uniforms_depend_on_every_part_and_on_nothing_else() -> None:
    base = hashed_uniforms([1, 2, np.arange(5)])
    assert (hashed_uniforms([1, 2, np.arange(5)[::-1]])[::-1] == base).all()
    for other in ([2, 2, np.arange(5)], [1, 3, np.arange(5)], [2, 1, np.arange(5)]):
        assert (hashed_uniforms(other) != base).all()


@pytest.mark.parametrize(
    ("method", "alpha"), [("uniform", 1.0), ("importance", 1.0), ("beta", 0.5), ("beta", 1.0), ("beta", 3.0)]
)
def test_the_first_drawn_item_follows_the_stated_distribution(method: str, alpha: float) -> None:
    scores = np.array([[0.9, 0.7, 0.4, 0.2, 0.1]])
    weights = rank_weights(method, scores, alpha)[0]
    stated = {
        "uniform": np.full(5, 0.2),
        "importance": scores[0] / scores.sum(),
        "beta": np.diff(stats.beta(alpha, alpha).cdf(np.arange(6) / 5)),
    }[method]
    found = np.bincount(draws(weights, 2)[:, 0], minlength=5)
    assert stats.chisquare(found, stated * DRAWS).pvalue > 1e-3


def test_pairs_are_drawn_one_after_the_other_without_replacement() -> None:
    weights = np.array([4.0, 3.0, 2.0, 1.0])
    found = draws(weights, 2)
    pairs = list(permutations(range(4), 2))
    stated = [weights[a] / 10 * weights[b] / (10 - weights[a]) for a, b in pairs]
    counts = [int(((found == pair).all(1)).sum()) for pair in pairs]
    assert stats.chisquare(counts, np.array(stated) * DRAWS).pvalue > 1e-3


def test_unusable_candidates_are_never_drawn_and_missing_ones_are_minus_one() -> None:
    usable = np.array([[True, False, True, False]])
    found = sample_without_replacement(np.ones((1, 4)), usable, hashed_uniforms([np.arange(4)[None]]), 3)
    assert sorted(found[0]) == [-1, 0, 2]


def test_importance_gives_a_negative_score_a_tiny_chance() -> None:
    weights = rank_weights("importance", np.array([[0.5, -0.5]]), 1.0)
    assert weights[0, 1] > 0
    assert weights[0, 1] < 1e-5 * weights[0, 0]
