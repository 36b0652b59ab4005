"""What may be chosen, and what a choice is made for."""

import numpy as np
import pytest

from divspa.augmentation.settings import DivSPA
from divspa.config import Config
from divspa.errors import TrainingError
from divspa.tuning.choice import asked, taken_over, to_try
from divspa.tuning.rounds import CONTROL
from divspa.tuning.settings import Candidate
from divspa.tuning.trials import Bench, Outcome
from divspa.tuning.tune import _gains, still_holds


def config(**settings) -> Config:
    clicks = {"path": "x", "user": "u", "item": "i", "time": "t"}
    return Config.model_validate({"clicks": clicks, "divspa": {"choose": "auto", "m": 2}, **settings})


def test_the_given_settings_come_first_and_none_is_tried_twice() -> None:
    tried = to_try(config(tuning={"candidates": [{"beta": 0.3}, {"ways": ["i2i"]}, {"ways": ["i2i"], "beta": 0.3}]}))
    assert [(each.ways, each.beta) for each in tried] == [(("u2i", "i2i", "u2u2i"), 0.3), (("i2i",), 0.3)]
    assert all(each.m == 2 for each in tried), "what is not chosen stays as it is given"
    assert to_try(config())[0] == config().divspa and len(to_try(config())) == 8


def test_only_what_is_chosen_is_taken_over() -> None:
    chosen = DivSPA(ways=("i2i",), beta=0.9, popularity_discount=0.5, scored_by="both", m=1, draws=4)
    taken = taken_over(config().divspa, chosen)
    assert (taken.ways, taken.beta, taken.popularity_discount, taken.scored_by) == (("i2i",), 0.9, 0.5, "both")
    assert (taken.m, taken.draws, taken.choose) == (2, 1, "auto")
    assert Candidate(beta=0.0).over(DivSPA()) == DivSPA(beta=0.0)


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"tuning": {"days": 30}}, True),
        ({"recall": {"items_per_user": 9}}, True),
        ({"tuning": {"criterion": "hr@50"}}, False),
        ({"tuning": {"candidates": [{"beta": 0.1}]}}, False),
        ({"model": "fm"}, False),
        ({"training": {"learning_rate": 0.5}}, False),
    ],
)
def test_a_choice_serves_only_what_it_was_made_for(change: dict, same: bool) -> None:
    assert (asked(config()) == asked(config(**change))) == same


def outcome(trial: int, ranks: list[int], failure: str | None = None) -> Outcome:
    return Outcome(0, trial, DivSPA(), 10, 1.0, np.array(ranks), failure)


def test_a_choice_holds_until_it_is_clearly_behind_the_control() -> None:
    better, worse = [0] * 40, [500] * 40
    users = Bench(None, None, False, None, np.arange(40), None, "", "")  # pyright: ignore[reportArgumentType]
    for mine, control, holds in ((better, worse, True), (worse, worse, True), (worse, better, False)):
        assert still_holds([outcome(CONTROL, control), outcome(0, mine)], config(), users) == holds
    assert not still_holds([outcome(CONTROL, worse), outcome(0, [], "loss is nan")], config(), users)


def test_when_no_setting_can_be_trained_the_error_says_why() -> None:
    gains = _gains([outcome(CONTROL, [1]), outcome(0, [3]), outcome(1, [], "nan")], 0, config())
    assert list(gains) == [0] and gains[0] == pytest.approx(1 / np.log2(5))
    with pytest.raises(TrainingError, match=r"could be trained.*loss is nan"):
        _gains([outcome(CONTROL, [1]), outcome(0, [], "loss is nan")], 0, config())
