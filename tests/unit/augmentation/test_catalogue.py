"""i2i finds exactly the nearest items that the user has not clicked, however few neighbours were kept."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from world import as_lists, catalogue_of, ranked, vectors_of

from divspa.augmentation.catalogue import among, best_of_pools, nearest_new

VECTORS = vectors_of(30, 1)
ITEMS = list(range(2, 32))
clicks = st.lists(st.sampled_from(ITEMS), unique=True, max_size=30).map(sorted)


@settings(deadline=None)
@given(st.lists(clicks, min_size=1, max_size=4), st.integers(1, 8), st.data())
def test_i2i_equals_brute_force(clicked: list[list[int]], k: int, data: st.DataObject) -> None:
    """Users have several pairs or none, in any order."""
    one_pair = st.tuples(st.sampled_from(ITEMS), st.integers(0, len(clicked) - 1))
    items, users = zip(*data.draw(st.lists(one_pair, min_size=1, max_size=6)), strict=True)
    addable = data.draw(st.lists(st.sampled_from(ITEMS), unique=True, min_size=1))
    width = data.draw(st.integers(k, 3 * k))
    catalogue = catalogue_of(VECTORS, width, addable)
    found = nearest_new(catalogue, np.array(items), as_lists(clicked), np.array(users), k)
    for row, (item, own) in enumerate((item, clicked[user]) for item, user in zip(items, users, strict=True)):
        new = [other for other in addable if other != item and other not in own]
        wanted = ranked(VECTORS[item], new, VECTORS)[:k]
        assert found.ids_NK[row].tolist() == wanted + [0] * (k - len(wanted))
        assert found.scores_NK[row][: len(wanted)].tolist() == [float(VECTORS[i] @ VECTORS[item]) for i in wanted]
        assert not found.scores_NK[row][len(wanted) :].any()
        kept = catalogue.nearest_VW[item].tolist()
        assert bool(found.completed_N[row]) == (0 not in kept and len(set(kept) - set(own)) < k)


def test_clicked_items_that_were_passed_over_are_counted() -> None:
    catalogue = catalogue_of(VECTORS, 6)
    kept = catalogue.nearest_VW[5].tolist()
    own = as_lists([sorted([kept[0], kept[2], kept[5]])])
    found = nearest_new(catalogue, np.array([5]), own, np.array([0]), 2)
    assert found.ids_NK.tolist() == [[kept[1], kept[3]]]
    assert (found.dropped_N.tolist(), found.completed_N.tolist()) == ([2], [False])


@given(st.lists(clicks, min_size=1, max_size=5), st.data())
def test_among_knows_each_lists_own_values(known: list[list[int]], data: st.DataObject) -> None:
    one = st.tuples(st.sampled_from(ITEMS), st.integers(0, len(known) - 1))
    ids, owners = zip(*data.draw(st.lists(one, min_size=1, max_size=20)), strict=True)
    found = among(np.array(ids), np.array(owners), as_lists(known), 40)
    assert found.tolist() == [value in known[owner] for value, owner in zip(ids, owners, strict=True)]


@given(st.lists(clicks, min_size=1, max_size=6), st.integers(1, 5))
def test_the_best_of_each_pool_matches_brute_force(pools: list[list[int]], k: int) -> None:
    users = np.random.default_rng(0).integers(-3, 4, (len(pools), VECTORS.shape[1])).astype(np.float32)
    ids, scores = best_of_pools(users, as_lists(pools), VECTORS, k)
    for user, pool in enumerate(pools):
        mine = slice(ids.offsets_N1[user], ids.offsets_N1[user + 1])
        wanted = ranked(users[user], pool, VECTORS)[:k]
        assert ids.values_M[mine].tolist() == wanted
        assert scores.values_M[mine].tolist() == [float(VECTORS[item] @ users[user]) for item in wanted]


def test_vectors_without_unit_length_are_near_by_their_direction() -> None:
    vectors = vectors_of(30, 4)
    longer = vectors * np.arange(1, 33, dtype=np.float32)[:, None]
    assert catalogue_of(vectors, 3).has_directions and not catalogue_of(longer, 3).has_directions
    assert np.allclose(catalogue_of(longer, 3).directions, vectors, atol=1e-6)
