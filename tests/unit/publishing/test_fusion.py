"""Reciprocal rank fusion: arrays, lists, and that both say the same."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from divspa.lists import Lists, offsets_of
from divspa.publishing.fusion import FIRST, LEAD, fuse, fuse_lists, fused_ranks, reciprocal_ranks, top_items

SEEDS = st.integers(0, 10_000)


def scores_of(seed: int, users: int = 4, items: int = 12) -> np.ndarray:
    """Different everywhere, so that no order hangs on a tie."""
    rng = np.random.default_rng(seed)
    return np.stack([rng.permutation(items) for _ in range(users)]).astype(np.float32)


def as_lists(rows: list[list[int]]) -> Lists:
    return Lists(
        offsets_of(np.array([len(row) for row in rows])), np.array([item for row in rows for item in row], np.int32)
    )


def test_a_list_gains_by_the_place_and_only_down_to_the_depth() -> None:
    scores = np.array([[0.1, 0.9, -np.inf, 0.5]], np.float32)
    gained = reciprocal_ranks(top_items(scores, 2), 4)
    assert gained.tolist() == [[0, np.float32(1 / FIRST), 0, np.float32(1 / (FIRST + 1))]]
    assert reciprocal_ranks(top_items(scores, 4), 4)[0, 2] == 0, "what is hidden is in no list, however deep"


def test_two_lists_as_one() -> None:
    ids, scores, sources = fuse_lists([as_lists([[7, 8, 9], []]), as_lists([[8, 5], [3]])], (0.5, 0.5), 3)
    assert ids.offsets_N1.tolist() == [0, 3, 4]
    assert ids.values_M.tolist() == [8, 7, 5, 3], "7 at place 0 is ahead of 5 at place 1; what both have is first"
    assert sources.tolist() == [3, 1, 2, 2]
    assert scores[0] == np.float32(LEAD * 0.5 / (FIRST + 1) + 0.5 / FIRST)


def test_of_two_that_change_places_the_favourite_of_the_first_leads() -> None:
    ids, _, _ = fuse_lists([as_lists([[9, 3]]), as_lists([[3, 9]])], (0.5, 0.5), 2)
    assert ids.values_M.tolist() == [9, 3]
    parts = [np.array([[0, 1, 2]], np.float32), np.array([[0, 2, 1]], np.float32)]
    fused = fuse([reciprocal_ranks(top_items(part, 3), 3) for part in parts], (0.5, 0.5), parts[0])
    assert np.argsort(-fused[0]).tolist() == [2, 1, 0]


def test_a_list_without_weight_only_fills_up() -> None:
    ids, _, _ = fuse_lists([as_lists([[1, 2]]), as_lists([[3, 2, 4]])], (1.0, 1e-9), 4)
    assert ids.values_M.tolist() == [1, 2, 3, 4]


@given(SEEDS, st.integers(1, 12), st.sampled_from([0.25, 0.5, 0.75]))
def test_arrays_and_lists_make_the_same_order(seed: int, depth: int, share: float) -> None:
    parts, weights = [scores_of(seed), scores_of(seed + 1)], (1 - share, share)
    tops = [top_items(part, depth) for part in parts]
    gains = [reciprocal_ranks(top, 12) for top in tops]
    fused = fuse(gains, weights, parts[0])
    for item in range(12):
        own = np.full(4, item)
        ranks = fused_ranks((tops[0], tops[1]), (gains[0], gains[1]), weights, parts[0], own)
        assert ranks.tolist() == ((fused >= fused[:, [item]]).sum(axis=1) - 1).tolist()
    ids, scores, _ = fuse_lists([as_lists(top.tolist()) for top in tops], weights, 12)
    for user in range(4):
        mine = slice(ids.offsets_N1[user], ids.offsets_N1[user + 1])
        np.testing.assert_allclose(fused[user, ids.values_M[mine]], scores[mine], rtol=1e-5)
        assert (np.diff(scores[mine]) <= 0).all()
        rest = np.setdiff1d(np.arange(12), ids.values_M[mine])
        assert (fused[user, rest] < 0).all(), "what is in no list comes after all that is in one"
        order = rest[np.argsort(-fused[user, rest])]
        assert (np.diff(parts[0][user, order]) < 0).all(), "in the order of the first"
