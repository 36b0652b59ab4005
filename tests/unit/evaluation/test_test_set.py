"""Ready-made lists of outside recommenders as rankings."""

from datetime import date
from typing import Any, cast

import numpy as np
import pyarrow as pa

from divspa.evaluation.test_set import TestSet


def test_lists_become_ranks_and_what_is_not_in_them_ranks_last() -> None:
    nothing = cast(Any, None)
    test = TestSet(nothing, date(2024, 1, 1), (1, 3), nothing, np.array([2, 3, 4, 5]), np.array([7, 5, 3, 1]))
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
    assert {k: shown.tolist() for k, shown in ranking.exposures.items()} == {1: [0, 1, 0, 1], 3: [0, 2, 2, 1]}
    figures = test.metrics(ranking)
    assert figures["all", "hr@1"] == 0.25 and figures["cold", "events"] == 1 and figures["all", "distinct@3"] == 3
