"""Keys sort as (score descending, position ascending) and give both back."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from divspa.retrieval.ordering import NOTHING, first_sorted, keys_of, positions_of, scores_of

finite = st.floats(width=32, allow_nan=False)
pairs = st.lists(st.tuples(finite, st.integers(0, 2**32 - 2)), min_size=1, max_size=50)


@given(pairs)
def test_keys_sort_by_score_and_then_position(values: list[tuple[float, int]]) -> None:
    scores, positions = (np.array(column) for column in zip(*values, strict=True))
    keys = np.sort(keys_of(scores.astype(np.float32), positions))
    expected = sorted(values, key=lambda value: (-value[0], value[1]))
    assert scores_of(keys).tolist() == [score for score, _ in expected]
    assert positions_of(keys).tolist() == [position for _, position in expected]
    assert (keys < NOTHING).all()


def test_negative_zero_ties_with_zero() -> None:
    keys = keys_of(np.array([0.0, -0.0], np.float32), np.array([1, 0]))
    assert positions_of(np.sort(keys)).tolist() == [0, 1]
    assert not np.signbit(scores_of(keys)).any()


def test_short_rows_end_in_nothing() -> None:
    keys = np.array([[3, 1, NOTHING], [2, 5, 4]], np.uint64)
    assert first_sorted(keys, 2).tolist() == [[1, 3], [2, 4]]
    assert first_sorted(keys, 4).tolist() == [[1, 3, NOTHING, NOTHING], [2, 4, 5, NOTHING]]
