import ir_measures
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from divspa.errors import TrainingError
from divspa.evaluation.metrics import (
    accuracy,
    all_finite,
    diversity,
    exposure,
    intra_list_distance,
    slices,
    unit_values,
)
from divspa.evaluation.ranking import rank_users, top_items
from divspa.evaluation.statistics import compare

NONE = (np.zeros(0, int), np.zeros(0, int))


def test_ties_count_against_the_model() -> None:
    ranked = rank_users(np.ones((1, 10)), NONE, (np.array([0]), np.array([0])), np.array([0]), 3)
    assert ranked.ranks_T.tolist() == [9]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_fails(value: float) -> None:
    with pytest.raises(TrainingError, match="score is not finite"):
        rank_users(np.full((1, 3), value), NONE, NONE, np.array([0]), 3)
    with pytest.raises(TrainingError, match="rank is not finite"):
        accuracy(np.array([1, value]), np.array([1, 2]), (5,))
    with pytest.raises(TrainingError, match=r"metric is not finite.*hr@5"):
        all_finite({"ndcg@5": 0.5, "hr@5": value})
    for gains in ((np.array([0.5, value]), np.ones(2)), (np.ones(2), np.array([0.5, value]))):
        with pytest.raises(TrainingError, match="compared is not finite"):
            compare(*gains, np.array([1, 2]), seed=1)


def test_items_outside_the_catalogue_rank_last_and_hidden_items_leave_the_list() -> None:
    scores = np.array([[4.0, 3.0, 2.0, 1.0]])
    hidden, asked = (np.array([0]), np.array([0])), (np.array([0, 0]), np.array([1, -1]))
    ranked = rank_users(scores, hidden, asked, np.array([0]), 4)
    assert ranked.ranks_T.tolist() == [0, 4]
    assert ranked.top_SK.tolist() == [[1, 2, 3, -1]]


@given(st.integers(1, 4), st.integers(2, 12), st.integers(0, 1000))
def test_ranks_match_brute_force(users: int, items: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    users_UD = rng.integers(-2, 3, (users, 2)).astype(np.float32)
    items_ND = rng.integers(-2, 3, (items, 2)).astype(np.float32)
    scores = users_UD @ items_ND.T
    row, item = (part.ravel() for part in np.meshgrid(np.arange(users), np.arange(items), indexing="ij"))
    shown = np.flatnonzero(rng.random(users) < 0.7)
    ranked = rank_users(scores.copy(), NONE, (row, item), shown, items)
    wanted = [(np.delete(scores[r], i) >= scores[r, i]).sum() for r, i in zip(row, item, strict=True)]
    assert ranked.ranks_T.tolist() == wanted
    for top, user in zip(ranked.top_SK.tolist(), shown, strict=True):
        assert top == sorted(range(items), key=lambda i: (-scores[user, i], i))


def test_top_items_leaves_places_empty() -> None:
    assert top_items(np.array([[1.0, -np.inf, 2.0]]), 5).tolist() == [[2, 0, -1]]


def test_accuracy_by_hand() -> None:
    figures = accuracy(np.array([0, 4, 60]), np.array([1, 1, 2]), (5,))
    assert figures["hr@5"] == pytest.approx(2 / 3)
    assert figures["ndcg@5"] == pytest.approx((1 + 1 / np.log2(6)) / 3)
    assert figures["mrr@5"] == pytest.approx((1 + 1 / 5) / 3)
    assert figures["recall@5"] == pytest.approx((1.0 + 0.0) / 2)


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 60)), min_size=1, max_size=40), st.integers(1, 50))
def test_accuracy_agrees_with_ir_measures(events: list[tuple[int, int]], k: int) -> None:
    users, ranks = np.array(events).T
    figures = accuracy(ranks, users, (k,))
    # Each event is a query with one relevant document, at its rank in a list of 61.
    judged = [ir_measures.Qrel(str(query), str(rank), 1) for query, rank in enumerate(ranks)]
    listed = [
        ir_measures.ScoredDoc(str(query), str(place), -place) for query in range(len(ranks)) for place in range(61)
    ]
    theirs = {
        str(name): value
        for name, value in ir_measures.calc_aggregate(
            [ir_measures.Success @ k, ir_measures.nDCG @ k, ir_measures.RR @ k], judged, listed
        ).items()
    }
    assert figures[f"hr@{k}"] == pytest.approx(theirs[f"Success@{k}"])
    assert figures[f"ndcg@{k}"] == pytest.approx(theirs[f"nDCG@{k}"])
    assert figures[f"mrr@{k}"] == pytest.approx(theirs[f"RR@{k}"])


LISTS = st.lists(st.lists(st.integers(0, 7), unique=True, max_size=6), min_size=1, max_size=5)


@given(LISTS, st.integers(1, 6), st.integers(0, 1000))
def test_exposure_and_distance_match_brute_force(lists: list[list[int]], k: int, seed: int) -> None:
    lists_SK = np.array([items + [-1] * (6 - len(items)) for items in lists])
    codes_NW = np.sort(np.random.default_rng(seed).permuted(np.tile(np.arange(6), (8, 1)), axis=1)[:, :2], axis=1)
    codes_NW[codes_NW.max(axis=1) == 0, 0] = 1
    values = np.array([[(code in row) and code > 0 for code in range(6)] for row in codes_NW], float)
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    wanted = []
    for items in (items[:k] for items in lists):
        pairs = [1 - values[a] @ values[b] for a in items for b in items if a != b]
        wanted += [np.mean(pairs)] if pairs else []
    assert intra_list_distance(lists_SK, k, unit_values(codes_NW)) == pytest.approx(np.mean(wanted) if wanted else 0)
    assert exposure(lists_SK, k, 8).tolist() == [sum(item in items[:k] for items in lists) for item in range(8)]


def test_diversity_by_hand() -> None:
    even = diversity(np.array([2, 2, 2, 2]), np.array([1, 1, 1, 1]), 7)
    assert (even["distinct@7"], even["coverage@7"], even["gini@7"]) == (4, 1, pytest.approx(0))
    assert (even["entropy@7"], even["novelty@7"]) == (2, 2)
    one = diversity(np.array([0, 0, 0, 8]), np.array([1, 0, 0, 3]), 7)
    assert (one["distinct@7"], one["coverage@7"], one["gini@7"]) == (1, 0.25, pytest.approx(0.75))
    assert (one["entropy@7"], one["novelty@7"]) == (0, pytest.approx(-np.log2(3 / 4)))
    assert diversity(np.zeros(3, np.int64), np.ones(3, np.int64), 7)["entropy@7"] == 0


def test_slices_by_hand() -> None:
    catalogue = np.array([50, 20, 15, 10, 5])  # thirds of the clicks: the first item, the second and third, the rest
    found = slices(np.array([50, 20, 15, 10, 0, 5]), np.array([1, 2, 3, 4, 5, 6]), catalogue)
    named = {name: np.flatnonzero(chosen).tolist() for name, chosen in found.items()}
    assert named["head"] == [0] and named["torso"] == [1] and named["tail"] == [2, 3, 5] and named["cold"] == [4]
    assert named["few"] == [0, 1] and named["some"] == [2, 3] and named["many"] == [4, 5]
    assert named["all"] == list(range(6))


@given(st.lists(st.integers(0, 5), min_size=1, max_size=30), st.integers(0, 2**32 - 1))
def test_slices_of_items_and_of_users_each_divide_all_events(popularity: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    found = slices(np.array(popularity), rng.integers(0, 4, len(popularity)), rng.integers(1, 6, 20))
    for names in (("cold", "tail", "torso", "head"), ("few", "some", "many")):
        assert (sum(found[name].astype(int) for name in names) == 1).all()
