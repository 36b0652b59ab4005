"""What may be published of a day's models, and how the held-out clicks are ranked by each."""

import numpy as np
import pytest

from divspa.errors import ConfigError, TrainingError
from divspa.lists import Lists, offsets_of
from divspa.publishing.channels import Channel, candidates
from divspa.publishing.held_out import HeldOut, ranks_of_channels
from divspa.publishing.settings import Publishing

MODELS = ["youtube_dnn", "divspa", "linear"]


def events(clicked: list[list[int]], items: list[int], size: int, listed: list[int] | None = None) -> HeldOut:
    nothing = np.zeros((len(items), 1), np.int32)
    lists = Lists(
        offsets_of(np.array([len(row) for row in clicked])),
        np.array([item for row in clicked for item in row], np.int32),
    )
    listed_V = np.isin(np.arange(size), listed or np.arange(2, size))
    return HeldOut(nothing, nothing, lists, np.array(items, np.int32), listed_V)


def test_each_model_and_each_two_are_candidates() -> None:
    found = list(candidates(MODELS, Publishing(weights=(0.3,))))
    assert [channel.name for channel in found] == [
        *MODELS,
        "youtube_dnn+divspa",
        "youtube_dnn+linear",
        "divspa+linear",
    ]
    assert found[-1].weights == (0.7, 0.3)


def test_settings_name_what_may_be_published() -> None:
    assert [channel.name for channel in candidates(MODELS, Publishing(channels=("divspa",)))] == ["divspa"]
    assert len(list(candidates(MODELS, Publishing(fused=False)))) == 3
    with pytest.raises(ConfigError, match=r"publishing\.channels"):
        list(candidates(MODELS, Publishing(channels=("sasrec",))))


def test_a_fused_channel_has_a_version_that_hangs_on_its_parts() -> None:
    versions = {"divspa": "a", "linear": "b"}
    one = Channel(("divspa", "linear"), (0.5, 0.5)).version(versions)
    assert Channel(("divspa",)).version(versions) == "a"
    assert one != Channel(("divspa", "linear"), (0.25, 0.75)).version(versions)
    assert one != Channel(("divspa", "linear"), (0.5, 0.5)).version(versions | {"linear": "c"})


def test_ranks_leave_out_what_is_known_and_what_is_not_in_the_catalogue() -> None:
    scores = np.array([[9, 9, 5, 4, 3, 2]], np.float32)
    asked = events([[2]], [4], 6, listed=[2, 4, 5])
    ranks = ranks_of_channels([Channel(("tower",))], {"tower": lambda _: scores.copy()}, asked, 3)
    assert ranks[Channel(("tower",))].tolist() == [0], (
        "padding and unknown, the clicked 2 and the unlisted 3 are passed"
    )


def test_ties_count_against_the_channel() -> None:
    asked = events([[], []], [2, 3], 6)
    ranks = ranks_of_channels([Channel(("tower",))], {"tower": lambda of: np.zeros((len(of), 6), np.float32)}, asked, 3)
    assert ranks[Channel(("tower",))].tolist() == [3, 3]


def test_what_two_models_both_find_is_ahead() -> None:
    """Each has the asked item second, behind an item that the other puts last."""
    one, other = np.array([[0, 0, 9, 8, 1, 0]], np.float32), np.array([[0, 0, 0, 8, 1, 9]], np.float32)
    both = Channel(("one", "other"), (0.5, 0.5))
    scorers = {"one": lambda _: one.copy(), "other": lambda _: other.copy()}
    ranks = ranks_of_channels([Channel(("one",)), both], scorers, events([[]], [3], 6), 2)
    assert [found.tolist() for found in ranks.values()] == [[1], [0]]


def test_a_score_that_is_no_number_is_refused() -> None:
    scores = np.array([[0, 0, np.nan, 1]], np.float32)
    with pytest.raises(TrainingError, match="tower"):
        ranks_of_channels([Channel(("tower",))], {"tower": lambda _: scores}, events([[]], [3], 4), 2)


def test_without_held_out_clicks_there_are_no_ranks() -> None:
    ranks = ranks_of_channels(
        [Channel(("tower",))], {"tower": lambda _: np.zeros((0, 4), np.float32)}, events([], [], 4), 2
    )
    assert [len(found) for found in ranks.values()] == [0]
