import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from divspa.augmentation.candidates import best_of_pools

RNG = np.random.default_rng(0)
VECTORS = RNG.standard_normal((30, 4)).astype(np.float32)


@given(st.lists(st.lists(st.integers(2, 29), unique=True, max_size=12), min_size=1, max_size=6), st.integers(1, 5))
def test_the_best_of_each_pool_matches_brute_force(pools: list[list[int]], k: int) -> None:
    users = RNG.standard_normal((len(pools), 4)).astype(np.float32)
    flat = np.array([item for pool in pools for item in pool], np.int64)
    ids, scores, offsets = best_of_pools(users, flat, np.array([len(pool) for pool in pools]), VECTORS, k)
    for user, pool in enumerate(pools):
        mine = slice(offsets[user], offsets[user + 1])
        wanted = sorted(pool, key=lambda item: (-float(np.einsum("d,d->", users[user], VECTORS[item])), item))[:k]
        assert ids[mine].tolist() == wanted
        assert (np.diff(scores[mine]) <= 0).all()
