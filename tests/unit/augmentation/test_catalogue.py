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
@given(st.lists(st.tuples(st.sampled_from(ITEMS), clicks), min_size=1, max_size=6), st.integers(1, 8), st.data())
def test_i2i_equals_brute_force(pairs: list[tuple[int, list[int]]], k: int, data: st.DataObject) -> None:
    addable = data.draw(st.lists(st.sampled_from(ITEMS), unique=True, min_size=1))
    width = data.draw(st.integers(k, 3 * k))
    catalogue = catalogue_of(VECTORS, width, addable)
    found = nearest_new(catalogue, np.array([item for item, _ in pairs]), as_lists([own for _, own in pairs]), k)
    for row, (item, own) in enumerate(pairs):
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
    found = nearest_new(catalogue, np.array([5]), own, 2)
    assert found.ids_NK.tolist() == [[kept[1], kept[3]]]
    assert (found.dropped_N.tolist(), found.completed_N.tolist()) == ([2], [False])


@given(st.lists(st.tuples(clicks, clicks), min_size=1, max_size=5))
def test_among_knows_each_lists_own_values(pairs: list[tuple[list[int], list[int]]]) -> None:
    asked, known = as_lists([a for a, _ in pairs]), as_lists([b for _, b in pairs])
    assert among(asked, known, 40).tolist() == [value in own for values, own in pairs for value in values]


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
