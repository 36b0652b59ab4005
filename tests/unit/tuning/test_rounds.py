"""The plan of rounds, and what is chosen among scores that are noisy."""

import numpy as np
import pytest

from divspa.tuning.rounds import FINALISTS, MARGIN, ahead, best_first, plan, settled

USERS = np.repeat(np.arange(50), 4)


@pytest.mark.parametrize(("settings", "counts"), [(1, [1]), (3, [3]), (4, [4, 3]), (9, [9, 3]), (30, [30, 10, 4, 3])])
def test_every_round_keeps_a_third_and_spends_as_much(settings: int, counts: list[int]) -> None:
    rounds = plan(settings, 1_000_000, 10_000_000)
    assert [each.settings for each in rounds] == counts
    spent = [(each.settings + 1) * each.pairs for each in rounds]
    assert sum(spent) == pytest.approx(1_000_000, rel=1e-4) and max(spent) < 1.001 * min(spent)
    assert rounds[-1].settings <= FINALISTS


def test_no_plan_takes_more_pairs_than_there_are_or_none() -> None:
    assert sum(each.pairs for each in plan(9, 1e9, 1000)) <= 1000
    assert all(each.pairs == 1 for each in plan(9, 1e-9, 1000))


def test_events_of_one_user_count_as_one() -> None:
    rng = np.random.default_rng(3)
    of_users_U = rng.normal(0.1, 1, 50)
    repeated_E = of_users_U[USERS]
    zero_E = np.zeros(len(USERS))
    assert ahead(repeated_E, zero_E, USERS) == pytest.approx(ahead(of_users_U, np.zeros(50), np.arange(50)))
    assert ahead(repeated_E, zero_E, np.arange(len(USERS))) > 1.5 * ahead(repeated_E, zero_E, USERS)
    assert ahead(zero_E, repeated_E, USERS) == -ahead(repeated_E, zero_E, USERS)
    assert ahead(zero_E, zero_E, USERS) == 0


def test_what_is_trusted_most_is_chosen_unless_another_is_clearly_ahead() -> None:
    rng = np.random.default_rng(5)
    given_E = rng.random(len(USERS))
    noise_E = rng.normal(0, 1, len(USERS))
    noise_E -= noise_E.mean()
    gains = {0: given_E, 3: given_E + noise_E + 1e-3, 5: given_E + noise_E + 2e-3}
    assert best_first(gains) == [5, 3, 0]
    assert 0 < ahead(gains[5], gains[0], USERS) < MARGIN and settled(gains, USERS) == 0
    gains[5] = given_E + noise_E + 1.0
    assert ahead(gains[5], gains[0], USERS) > MARGIN and settled(gains, USERS) == 5
    assert best_first({2: given_E, 1: given_E}) == [1, 2], "ties by place"
