import numpy as np
import pytest

from divspa.augmentation.weights import merge_and_weigh, normalised_weights, source_names

WAYS_S = np.array([0, 0, 1, 1, 2, 2])


def test_an_item_of_several_ways_is_kept_once_with_all_its_sources() -> None:
    items = np.array([[7, 8, 7, 0, 8, 7]])
    scores = np.array([[0.5, 0.3, 0.5, 0.0, 0.3, 0.5]])
    merged = merge_and_weigh(items, WAYS_S, scores, "clamp")
    assert merged.items_NS.tolist() == [[7, 8, 0, 0, 0, 0]]
    names = source_names(merged.sources_NS[0], ["u2i", "i2i", "u2u2i"]).to_pylist()
    assert names == ["u2i+i2i+u2u2i", "u2i+u2u2i", "", "", "", ""]
    assert merged.weights_NS[0] == pytest.approx([0.625, 0.375, 0, 0, 0, 0])
    assert merged.scores_NS[0] == pytest.approx([0.5, 0.3, 0, 0, 0, 0])


def test_negative_scores_are_clamped_where_the_paper_is_undefined() -> None:
    weights = normalised_weights(np.array([[0.2, -0.1, -0.05]]), np.ones((1, 3), bool), "clamp")
    assert weights[0] == pytest.approx([0.2 / 0.202, 0.001 / 0.202, 0.001 / 0.202])


def test_softmax_weights_follow_the_exponential() -> None:
    weights = normalised_weights(np.array([[0.2, -0.1]]), np.ones((1, 2), bool), "softmax")
    assert weights[0] == pytest.approx(np.exp([0.2, -0.1]) / np.exp([0.2, -0.1]).sum())


def test_a_row_without_candidates_has_no_weight() -> None:
    merged = merge_and_weigh(np.zeros((1, 6), int), WAYS_S, np.zeros((1, 6)), "clamp")
    assert not merged.weights_NS.any()
    assert not merged.items_NS.any()


def test_there_may_be_any_number_of_ways() -> None:
    ways = [f"way{place}" for place in range(40)]
    merged = merge_and_weigh(np.full((1, 40), 7), np.arange(40), np.ones((1, 40)), "clamp")
    assert source_names(merged.sources_NS[0, :2], ways).to_pylist() == ["+".join(ways), ""]


def test_weights_by_the_ways_own_scores_give_every_way_its_share_whatever_its_scale() -> None:
    items, scores = np.array([[7, 8, 7, 0, 0, 0]]), np.array([[0.5, 0.3, 0.5, 0.0, 0.0, 0.0]])
    own = np.array([[30.0, 10.0, 0.002, 9.0, 0.0, 0.0]])
    by_way = merge_and_weigh(items, WAYS_S, scores, "clamp", own)
    assert by_way.items_NS.tolist() == [[7, 8, 0, 0, 0, 0]]
    assert by_way.weights_NS[0] == pytest.approx([(0.75 + 1) / 2, 0.25 / 2, 0, 0, 0, 0])
    assert by_way.scores_NS[0] == pytest.approx([0.5, 0.3, 0, 0, 0, 0]), "the double check is kept as it is"
    both = merge_and_weigh(items, WAYS_S, scores, "clamp", own, 0.5)
    assert both.weights_NS[0] == pytest.approx([(0.875 + 0.625) / 2, (0.125 + 0.375) / 2, 0, 0, 0, 0])
