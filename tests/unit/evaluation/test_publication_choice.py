"""What is published: the best by held-out clicks, unless the test contradicts, and no day that falls too far."""

import numpy as np
import pytest

from divspa.evaluation.choice import Answers, choose, confirmed, dropped
from divspa.publishing.channels import Channel

BASE, DIVSPA, LINEAR = (Channel((name,)) for name in ("youtube_dnn", "divspa", "linear"))
HALF, QUARTER = (Channel(("divspa", "linear"), weights) for weights in ((0.5, 0.5), (0.75, 0.25)))
GOOD, FAIR, BAD = (np.array(ranks) for ranks in ([0, 1, 2, 0], [5, 9, 3, 7], [400, 300, 900, 99]))


def answers(hits: float, users: int = 400) -> Answers:
    """Each user has one event, in the first places or far behind."""
    ranks = np.where(np.arange(users) < hits * users, 0, 10_000)
    return Answers(ranks, np.arange(users))


def test_the_best_on_held_out_clicks_is_chosen_with_its_best_weights() -> None:
    choice = choose({BASE: BAD, DIVSPA: FAIR, HALF: FAIR, QUARTER: GOOD}, "ndcg@100", None)
    assert choice.chosen == QUARTER
    assert choice.best["divspa+linear"] == QUARTER
    assert choice.incumbent == BASE, "on the first day the base is what stays"
    assert choice.ranked == [QUARTER], "single models are ranked anyway"


def test_the_simplest_of_equals_is_chosen() -> None:
    assert choose({BASE: FAIR, DIVSPA: FAIR, HALF: FAIR}, "hr@50", None).chosen == BASE


def test_what_was_published_last_stays_when_the_test_contradicts() -> None:
    choice = choose({BASE: BAD, DIVSPA: GOOD, LINEAR: FAIR, HALF: FAIR}, "ndcg", "divspa+linear")
    assert (choice.chosen, choice.incumbent) == (DIVSPA, HALF)
    published, reason = confirmed(choice, {"divspa": answers(0.2), "divspa+linear": answers(0.5)}, 50, 1)
    assert published == HALF
    assert "divspa was best" in reason
    assert "-60.0 % hr@50" in reason


@pytest.mark.parametrize("against", [0.2, 0.48])
def test_the_choice_stands_when_the_test_shows_no_loss(against: float) -> None:
    choice = choose({BASE: BAD, DIVSPA: GOOD}, "ndcg", None)
    published, reason = confirmed(choice, {"divspa": answers(0.5), "youtube_dnn": answers(against)}, 50, 1)
    assert published == DIVSPA
    assert "not worse than youtube_dnn" in reason


def test_a_small_loss_that_may_be_chance_does_not_contradict() -> None:
    rng = np.random.default_rng(3)
    ours, theirs = (Answers(np.where(rng.random(400) < 0.3, 0, 10_000), np.arange(400)) for _ in range(2))
    choice = choose({BASE: BAD, DIVSPA: GOOD}, "ndcg", None)
    assert confirmed(choice, {"divspa": ours, "youtube_dnn": theirs}, 50, 1)[0] == DIVSPA


def test_without_held_out_clicks_divspa_is_taken_and_it_is_said() -> None:
    nothing = np.zeros(0, np.int64)
    choice = choose({BASE: nothing, DIVSPA: nothing, HALF: nothing}, "ndcg@100", None)
    published, reason = confirmed(choice, {}, 50, 1)
    assert (published, reason) == (DIVSPA, "no clicks are held out to choose by")
    assert set(choice.scores.values()) == {None}


def test_a_fall_beyond_what_is_allowed_is_told() -> None:
    assert dropped(0.07, 0.1, 0.2, 10_000) == "0.0700 after 0.1000, -30.0 %"
    assert not dropped(0.07, 0.1, 0.2, 100), "of so few events chance makes as much"
    assert not dropped(0.081, 0.1, 0.2, 10_000)
    assert not dropped(0.01, 0.1, 0.0, 10_000), "0 turns the gate off"
    assert not dropped(0.01, None, 0.2, 10_000), "nothing was published before"
