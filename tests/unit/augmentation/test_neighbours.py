"""i2i finds exactly the nearest items that the user has not clicked, however few neighbours were kept."""

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from world import as_lists, catalogue_of, ranked, vectors_of

from divspa.augmentation.neighbours import nearest_new

VECTORS = vectors_of(30, 1)
ITEMS = list(range(2, 32))
clicks = st.lists(st.sampled_from(ITEMS), unique=True, max_size=30).map(sorted)


@given(st.lists(clicks, min_size=1, max_size=4), st.integers(1, 8), st.data())
def test_i2i_equals_brute_force(clicked: list[list[int]], k: int, data: st.DataObject) -> None:
    """Users have several pairs or none, in any order."""
    one_pair = st.tuples(st.sampled_from(ITEMS), st.integers(0, len(clicked) - 1))
    items, users = zip(*data.draw(st.lists(one_pair, min_size=1, max_size=6)), strict=True)
    addable = data.draw(st.lists(st.sampled_from(ITEMS), unique=True, min_size=1))
    width = data.draw(st.integers(k, 3 * k))
    catalogue, completed = catalogue_of(VECTORS, width, addable), 0
    near, users_N = catalogue.neighbours["i2i"], np.array(users)
    found = nearest_new(near, np.array(items), as_lists(clicked), users_N, catalogue, k)
    alone = nearest_new(replace(near, complete=None), np.array(items), as_lists(clicked), users_N, catalogue, k)
    for row, (item, own) in enumerate((item, clicked[user]) for item, user in zip(items, users, strict=True)):
        new = [other for other in addable if other != item and other not in own]
        wanted = ranked(VECTORS[item], new, VECTORS)[:k]
        assert found.ids_NK[row].tolist() == wanted + [0] * (k - len(wanted))
        assert found.scores_NK[row][: len(wanted)].tolist() == [float(VECTORS[i] @ VECTORS[item]) for i in wanted]
        assert not found.scores_NK[row][len(wanted) :].any()
        kept = near.ids_VW[item].tolist()
        completed += 0 not in kept and len(set(kept) - set(own)) < k
        of_kept = [other for other in kept if other and other not in own][:k]
        assert alone.ids_NK[row].tolist() == of_kept + [0] * (k - len(of_kept))
    assert (found.completed, alone.completed) == (completed, 0)


def test_clicked_items_that_were_passed_over_are_counted() -> None:
    catalogue = catalogue_of(VECTORS, 6)
    kept = catalogue.neighbours["i2i"].ids_VW[5].tolist()
    own = as_lists([sorted([kept[0], kept[2], kept[5]])])
    found = nearest_new(catalogue.neighbours["i2i"], np.array([5]), own, np.array([0]), catalogue, 2)
    assert found.ids_NK.tolist() == [[kept[1], kept[3]]]
    assert (found.dropped_N.tolist(), found.completed) == ([2], 0)
