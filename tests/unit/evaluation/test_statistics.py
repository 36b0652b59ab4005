"""Intervals and tests against scipy, by hand, and against their promises on simulated data."""

from dataclasses import astuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from divspa.evaluation import statistics
from divspa.evaluation.statistics import compare, compare_all, holm, verdict
from divspa.gains import gains


def test_the_t_test_is_scipys_over_users() -> None:
    rng = np.random.default_rng(0)
    ours, theirs, user = rng.random(300), rng.random(300), rng.integers(0, 40, 300)
    found = compare(ours, theirs, user, seed=1)
    sums = [[values[user == u].sum() for u in range(40)] for values in (ours, theirs)]
    assert found.p_t == pytest.approx(stats.ttest_rel(*sums).pvalue)
    assert found.value == pytest.approx(ours.mean()) and found.against == pytest.approx(theirs.mean())
    assert found.p_permutation == pytest.approx(found.p_t, abs=0.05)
    assert found.low < found.relative < found.high


def test_without_a_true_difference_tests_cry_wolf_at_their_level_though_a_users_events_agree() -> None:
    rng = np.random.default_rng(3)
    alarms, covered = [], []
    for run in range(120):
        user = np.repeat(np.arange(60), 5)
        shift = rng.normal(0, 0.3, 60)[user]  # events of one user move together
        base = rng.random(300)
        found = compare(base + shift, base, user, seed=run)
        alarms.append((found.p_t < 0.05, found.p_permutation < 0.05))
        covered.append(found.low <= 0 <= found.high)
    assert np.mean(alarms, axis=0) == pytest.approx([0.05, 0.05], abs=0.06)
    assert np.mean(covered) == pytest.approx(0.95, abs=0.06)


def test_a_true_difference_is_found() -> None:
    rng = np.random.default_rng(5)
    base = rng.random(2000)
    found = compare(base + 0.05 + rng.normal(0, 0.1, 2000), base, np.arange(2000) // 4, seed=0)
    assert found.p_t < 1e-4 and found.p_permutation < 1e-3 and found.low > 0
    assert found.relative == pytest.approx(0.1, rel=0.2)


def test_of_very_many_users_groups_are_drawn_and_say_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(7)
    base, user = rng.random(30_000), np.arange(30_000) // 3
    ours = base + rng.normal(0.004, 0.3, 30_000)
    alone = compare(ours, base, user, seed=0)
    monkeypatch.setattr(statistics, "MOST_UNITS", 500)
    grouped = compare(ours, base, user, seed=0)
    assert (grouped.p_t, grouped.value, grouped.against) == (alone.p_t, alone.value, alone.against)
    assert grouped.low == pytest.approx(alone.low, abs=0.1 * (alone.high - alone.low))
    assert grouped.high == pytest.approx(alone.high, abs=0.1 * (alone.high - alone.low))
    assert grouped.p_permutation == pytest.approx(alone.p_permutation, abs=0.03)
    assert 0.01 < alone.p_t < 0.99, "a case that could differ"


def test_pairs_that_are_compared_together_have_the_figures_of_each_alone() -> None:
    rng = np.random.default_rng(9)
    first, second, third, user = *rng.random((3, 400)), rng.integers(0, 50, 400)
    pairs = [(second, first), (third, first), (third, second)]
    together = compare_all(pairs, user, seed=4)
    for (ours, theirs), found in zip(pairs, together, strict=True):
        assert astuple(found) == pytest.approx(astuple(compare(ours, theirs, user, seed=4)), rel=1e-12)
    assert compare_all([], user, seed=4) == []


def test_one_user_or_equal_models_prove_nothing() -> None:
    alone = compare(np.ones(5), np.full(5, 0.5), np.zeros(5, np.int64), seed=0)
    assert (alone.p_t, alone.p_permutation) == (1.0, 1.0) and alone.relative == 1.0
    same = compare(np.ones(5), np.ones(5), np.arange(5), seed=0)
    assert (same.p_t, same.p_permutation, same.low, same.high) == (1.0, 1.0, 0.0, 0.0)
    assert compare(np.ones(2), np.zeros(2), np.arange(2), seed=0).relative == np.inf


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.7, 0.9]) == [1.0, 1.0] and holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_holm_never_lowers_and_keeps_the_order(p_values: list[float]) -> None:
    raised = np.array(holm(p_values))
    assert (raised >= np.array(p_values)).all() and (raised <= 1).all()
    assert (np.diff(raised[np.argsort(p_values, kind="stable")]) >= 0).all()


def test_the_words_follow_the_corrected_p() -> None:
    assert verdict(0.1, 0.01) == "better" and verdict(-0.1, 0.01) == "worse"
    assert verdict(0.1, 0.05) == verdict(-0.1, 0.2) == verdict(0.1, float("nan")) == "no difference shown"


def test_gains_of_ranks_by_hand() -> None:
    ranks = np.array([0, 1, 49, 50])
    assert gains(ranks, "hr@50").tolist() == [1, 1, 1, 0]
    assert gains(ranks, "ndcg@2") == pytest.approx([1, 1 / np.log2(3), 0, 0])
