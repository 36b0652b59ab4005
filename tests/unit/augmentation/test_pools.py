"""Whose items are whose, and which of them score best, against the plainest words."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from world import as_lists, ranked, vectors_of

from divspa.augmentation.pools import among, best_of_pools, dots

VECTORS = vectors_of(30, 1)
ITEMS = list(range(2, 32))
clicks = st.lists(st.sampled_from(ITEMS), unique=True, max_size=30).map(sorted)


@given(st.lists(clicks, min_size=1, max_size=5), st.data())
def test_among_knows_each_lists_own_values(known: list[list[int]], data: st.DataObject) -> None:
    one = st.tuples(st.sampled_from(ITEMS), st.integers(0, len(known) - 1))
    ids, owners = zip(*data.draw(st.lists(one, min_size=1, max_size=20)), strict=True)
    found = among(np.array(ids), np.array(owners), as_lists(known), 40)
    assert found.tolist() == [value in known[owner] for value, owner in zip(ids, owners, strict=True)]


@given(st.lists(clicks, min_size=1, max_size=6), st.integers(1, 5))
def test_the_best_of_each_pool_matches_brute_force(pools: list[list[int]], k: int) -> None:
    users = np.random.default_rng(0).integers(-3, 4, (len(pools), VECTORS.shape[1])).astype(np.float32)
    ids, scores = best_of_pools(as_lists(pools), dots(users, as_lists(pools), VECTORS), k)
    for user, pool in enumerate(pools):
        mine = slice(ids.offsets_N1[user], ids.offsets_N1[user + 1])
        wanted = ranked(users[user], pool, VECTORS)[:k]
        assert ids.values_M[mine].tolist() == wanted
        assert scores.values_M[mine].tolist() == [float(VECTORS[item] @ users[user]) for item in wanted]
