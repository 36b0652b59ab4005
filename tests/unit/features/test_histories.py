from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from divspa.features.histories import RecentEvents

ROWS = st.lists(st.tuples(st.integers(0, 4), st.booleans()), max_size=40)


def brute_force(rows: list[tuple[int, bool]], items: list[int], length: int) -> list[list[int]]:
    out, past = [], {}
    for (user, is_event), item in zip(rows, items, strict=True):
        if is_event:
            past.setdefault(user, []).append(item)
        else:
            out.append(past.get(user, [])[-length:])
    return out


@given(ROWS, st.integers(1, 5), st.lists(st.integers(0, 40), max_size=4))
def test_histories_are_the_last_events_wherever_batches_are_cut(rows, length, cuts) -> None:
    rows = sorted(rows, key=lambda row: row[0])
    items = list(range(2, 2 + len(rows)))
    recent, found = RecentEvents(length), []
    edges = [0, *sorted(min(cut, len(rows)) for cut in cuts), len(rows)]
    for start, stop in pairwise(edges):
        users = np.array([user for user, _ in rows[start:stop]], np.int64)
        is_event = np.array([event for _, event in rows[start:stop]], bool)
        taken = np.array(items[start:stop], np.int32)[is_event]
        history_ML, lengths_M = recent.advance(users, is_event, taken)
        found += [list(row[:size]) for row, size in zip(history_ML, lengths_M, strict=True)]
        assert all((row[size:] == 0).all() for row, size in zip(history_ML, lengths_M, strict=True))
    assert found == brute_force(rows, items, length)
