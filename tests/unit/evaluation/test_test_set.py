"""Ready-made lists of outside recommenders as rankings."""

from datetime import date
from typing import Any, cast

import numpy as np
import pyarrow as pa
from scipy import stats

from divspa.evaluation.test_set import Ranking, TestSet


def _test_set(index_N: np.ndarray, popularity_N: np.ndarray, shown_S: np.ndarray) -> TestSet:
    nothing, ks = cast(Any, None), (1, 3)
    return TestSet(nothing, date(2024, 1, 1), ks, ks, nothing, index_N, popularity_N, {}, shown_S)


def test_lists_become_ranks_and_what_is_not_in_them_ranks_last() -> None:
    test = _test_set(np.array([2, 3, 4, 5]), np.array([7, 5, 3, 1]), np.array([10, 20]))
    asked = pa.table(
        {
            "user_key": pa.array([10, 10, 20, 20], pa.int64()),
            "event": pa.array([0, 1, 0, 1], pa.int32()),
            "item_index": pa.array([1, 4, 2, 5], pa.int32()),
            "train_items": pa.array([3, 3, 1, 1], pa.int32()),
        }
    )
    lists = np.array([[3, 4, 0], [5, 3, 4]], np.int32)  # the padding of the first is no hit for its unknown item 1
    ranking = test.rank_lists("mine", asked, lists)
    assert ranking.rank_T.tolist() == [4, 1, 4, 0]
    assert ranking.popularity_T.tolist() == [0, 3, 7, 1]
    assert {k: shown.tolist() for k, shown in test.exposures(ranking).items()} == {1: [0, 1, 0, 1], 3: [0, 2, 2, 1]}
    assert test.list_of(ranking, 10, 9).tolist() == [3, 4] and test.list_of(ranking, 20, 2).tolist() == [5, 3]
    figures = test.metrics(ranking)
    assert figures["all", "hr@1"] == 0.25 and figures["cold", "events"] == 1 and figures["all", "distinct@3"] == 3


def test_a_random_list_has_every_item_anywhere_but_none_that_the_user_had() -> None:
    events, items, had = 20_000, 12, 4
    test = _test_set(np.arange(2, 2 + items), np.ones(items, np.int64), np.arange(500))
    nothing, asked = np.zeros(events, np.int64), np.r_[0, np.full(events - 1, 2)]  # the first is in no catalogue
    like = Ranking("like", nothing, nothing, asked, nothing, nothing, np.full(events, had), np.zeros((500, 3)))
    ranking = test.rank_random(like, seed=1)
    assert ranking.rank_T[0] == items and ranking.rank_T[1:].max() == items - had - 1
    assert stats.chisquare(np.bincount(ranking.rank_T[1:])).pvalue > 1e-3
    assert ranking.lists_SK.shape == (500, 3) and stats.chisquare(test.exposures(ranking)[1]).pvalue > 1e-3
    assert test.rank_random(like, seed=1).rank_T.tolist() == ranking.rank_T.tolist()
