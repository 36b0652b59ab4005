"""The linear model against EASE as its paper writes it, from counts taken in two partitions."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from divspa.arrow import joined_batch
from divspa.linear.cooccurrence import Wanted, places_by_clicks, products, summed
from divspa.linear.recommend import Weights
from divspa.linear.settings import Linear
from divspa.linear.solution import best_of_rows, choose_regularisation, solve
from divspa.linear.solver import Cooccurrences, HeldOut
from divspa.lists import Lists, offsets_of

NOBODY = HeldOut(Lists(np.zeros(1, np.int64), np.zeros(0, np.int64)), np.zeros(0, np.int64), np.zeros(0, np.int64))


def log(users: int, items: int, seed: int) -> np.ndarray:
    """Who clicked what (U, V), popular items first in no particular order of their indices; 0 and 1 are reserved."""
    rng = np.random.default_rng(seed)
    chance = rng.permutation(np.linspace(0.02, 0.5, items))
    clicks = rng.random((users, items)) < chance
    return np.hstack([np.zeros((users, 2), bool), clicks])


def lists_of_rows(clicks_UV: np.ndarray) -> Lists:
    user, item = np.nonzero(clicks_UV)
    return Lists(offsets_of(np.bincount(user, minlength=len(clicks_UV))), item.astype(np.int32))


def counted(clicks_UV: np.ndarray, dense: int, support: int) -> Cooccurrences:
    """As Spark counts it, in two partitions."""
    clicks_V = clicks_UV.sum(0)
    place_V, size = places_by_clicks(clicks_V), clicks_UV.shape[1]
    clicks_I, pieces = np.sort(clicks_V)[::-1], []
    for part in np.array_split(clicks_UV, 2):
        clicked = lists_of_rows(part)
        pieces += products([Lists(clicked.offsets_N1, place_V[clicked.values_M])], size, dense)
    rows = joined_batch([batch for batch in pieces if batch.num_rows])
    rows = rows.take(np.argsort(rows["item"].to_numpy(), kind="stable"))
    together = summed(rows, clicks_I, Wanted(dense, support)).to_pylist()
    return Cooccurrences.of((SimpleNamespace(**row) for row in together), np.argsort(place_V), clicks_I)


def ease(clicks_UV: np.ndarray, regularisation: float) -> np.ndarray:
    """Steck 2019, Algorithm 1."""
    clicks = clicks_UV.astype(np.float64)
    gram = clicks.T @ clicks
    gram[np.diag_indices(len(gram))] += regularisation
    inverse = np.linalg.inv(gram)
    weights = inverse / -np.diag(inverse)
    weights[np.diag_indices(len(weights))] = 0
    return weights


@settings(max_examples=10)
@given(st.integers(0, 10_000), st.integers(5, 60), st.integers(3, 30), st.sampled_from([1.0, 10.0, 300.0]))
def test_the_closed_form_is_ease(seed: int, users: int, items: int, regularisation: float) -> None:
    clicks = log(users, items, seed)
    clicks[0, 2:] = True
    chosen = Linear(regularisations=(regularisation,), neighbours=items)
    found = solve(counted(clicks, chosen.max_dense_items, 5), chosen, NOBODY)
    assert np.allclose(found.weights_VV.toarray(), ease(clicks, regularisation), atol=2e-4)


@settings(max_examples=10)
@given(st.integers(0, 10_000), st.integers(1, 12), st.integers(1, 12))
def test_beyond_the_closed_form_an_item_is_a_ridge_on_its_strongest_partners(
    seed: int, dense: int, support: int
) -> None:
    clicks, regularisation = log(80, 20, seed), 5.0
    clicks[0, 2:] = True
    chosen = Linear(regularisations=(regularisation,), neighbours=22, max_dense_items=dense, support=support)
    weights = solve(counted(clicks, dense, support), chosen, NOBODY).weights_VV.toarray()
    gram, place = clicks.T.astype(float) @ clicks, places_by_clicks(clicks.sum(0))
    head = np.flatnonzero(place < dense)
    assert np.allclose(weights[np.ix_(head, head)], ease(clicks[:, head], regularisation), atol=2e-4)
    for item in range(2, 22):
        if place[item] >= dense:
            strength = gram[:, item] / (np.sqrt(gram.diagonal() * gram[item, item]) + 10)
            strength[item] = 0
            used = np.flatnonzero(weights[:, item])
            together = (gram[:, item] > 0).sum() - 1
            assert len(used) <= min(support, together)
            assert strength[used].min() >= np.sort(strength)[::-1][min(support, together) - 1] - 1e-12
            ridge = gram[np.ix_(used, used)] + regularisation * np.eye(len(used))
            if len(used) == min(support, together):
                solved = np.linalg.solve(ridge, gram[used, item])
                assert np.allclose(weights[used, item], solved, atol=2e-4)
                left = gram[item, item] + regularisation - solved @ gram[used, item]
                back = np.isin(used, head)
                inverse = np.linalg.inv(gram[np.ix_(head, head)] + regularisation * np.eye(len(head))).diagonal()
                expected = solved[back] / inverse[np.searchsorted(head, used[back])] / left
                assert np.allclose(weights[item, used[back]], expected, atol=2e-4)


def test_the_regularisation_that_ranks_held_out_clicks_best_is_chosen() -> None:
    clicks = log(300, 40, 3)
    # Everybody who clicked item 5 clicks item 6 next, whatever else: only a model that listens to one click sees it.
    clicks[:, 6] = clicks[:, 5]
    counts, place = counted(clicks, 100, 5), places_by_clicks(clicks.sum(0))
    asked = clicks.copy()
    asked[:, 6] = False
    users = np.flatnonzero(clicks[:, 5])
    clicked = lists_of_rows(asked[users])
    held_out = HeldOut(
        Lists(clicked.offsets_N1, place[clicked.values_M]), np.arange(len(users)), np.full(len(users), place[6])
    )
    chosen, scores = choose_regularisation(counts, (1e6, 1.0, 1e5), held_out)
    assert chosen == 1.0 and scores[1] == max(scores) > 0.99
    assert choose_regularisation(counts, (7.0, 8.0), NOBODY) == (7.0, ())
    by_hand = np.where(asked[users], -np.inf, asked[users].astype(float) @ ease(clicks, 1e5))[:, 2:]
    ranks = (by_hand >= by_hand[:, [4]]).sum(1) - 1
    assert scores[2] == pytest.approx((1 / np.log2(ranks + 2)).mean(), abs=0.01), "40 items have no rank beyond the cut"


def test_rows_keep_their_largest_entries_from_the_highest_down() -> None:
    weights = sparse.csr_array(np.array([[0, 1, -5, 2, 2], [0, 0, 0, 0, 0], [-1, 0, 0, 0, 0]], np.float32))
    kept = best_of_rows(weights, 3)
    assert kept.indptr.tolist() == [0, 3, 3, 4]
    assert kept.indices.tolist() == [3, 4, 2, 0] and kept.data.tolist() == [2, 2, -5, -1]


@settings(max_examples=20)
@given(st.integers(0, 10_000), st.integers(1, 8))
def test_lists_are_the_highest_sums_of_weights_without_what_was_clicked(seed: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    dense = np.where(rng.random((12, 12)) < 0.5, rng.integers(-2, 4, (12, 12)), 0).astype(np.float32)
    weights, clicks = Weights(sparse.csr_array(dense)), rng.random((6, 12)) < 0.3
    clicked = lists_of_rows(clicks)
    ids, scores = weights.best(clicked, clicked, k)
    counted_ids, _ = weights.best(clicked, clicked, k, count=True)
    for user in range(6):
        sums = clicks[user].astype(np.float32) @ dense
        ranked = sorted(np.flatnonzero(sums > 0), key=lambda item: (-sums[item], item))
        expected = [item for item in ranked if not clicks[user, item]][:k]
        part = slice(ids.offsets_N1[user], ids.offsets_N1[user + 1])
        assert ids.values_M[part].tolist() == expected
        assert scores.values_M[part].tolist() == sums[expected].tolist()
        last = ranked.index(expected[-1]) + 1 if len(expected) == k else len(ranked)
        part = slice(counted_ids.offsets_N1[user], counted_ids.offsets_N1[user + 1])
        assert counted_ids.values_M[part].tolist() == ranked[:last]


@settings(max_examples=20)
@given(st.integers(0, 10_000), st.integers(1, 16))
def test_short_lists_are_filled_up_with_what_is_popular_also_items_without_a_weight(seed: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    dense = np.where(rng.random((12, 12)) < 0.1, rng.integers(-2, 4, (12, 12)), 0).astype(np.float32)
    weights, clicked = Weights(sparse.csr_array(dense)), lists_of_rows(rng.random((6, 15)) < 0.2)
    popular_P = rng.permutation(15).astype(np.int32)
    alone, _ = weights.best(clicked, clicked, k)
    ids, scores = weights.best(clicked, clicked, k, popular_P=popular_P)
    for user in range(6):
        own, first = (each.values_M[each.offsets_N1[user] : each.offsets_N1[user + 1]] for each in (clicked, alone))
        found = slice(ids.offsets_N1[user], ids.offsets_N1[user + 1])
        more = [item for item in popular_P if item not in own and item not in first]
        assert ids.values_M[found].tolist() == [*first, *more][:k]
        assert (scores.values_M[found][len(first) :] == 0).all()
