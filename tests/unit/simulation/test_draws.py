"""Draws are uniform, independent of each other, and a function of seed, purpose and keys only."""

import numpy as np
import pytest

from divspa.simulation.draws import Draws, halves, shuffled, zipf_rank
from divspa.simulation.text import numbered

N = 200_000
DRAWS = Draws(1)
INDEX = np.arange(N)


def test_draws_are_uniform_and_independent_of_key_purpose_and_seed() -> None:
    base = DRAWS.uniform("a", INDEX)
    others = [DRAWS.uniform("b", INDEX), Draws(2).uniform("a", INDEX), DRAWS.uniform("a", INDEX, 0), np.roll(base, 1)]
    assert np.histogram(base, 20, (0, 1))[0] == pytest.approx(N / 20, rel=0.05)
    assert all(abs(np.corrcoef(base, other)[0, 1]) < 0.01 for other in others)
    assert abs(np.corrcoef(*halves(DRAWS.bits("a", INDEX)))[0, 1]) < 0.01


def test_a_draw_does_not_depend_on_its_neighbours() -> None:
    assert np.array_equal(DRAWS.bits("a", INDEX)[70:90], DRAWS.bits("a", INDEX[70:90]))


def test_keys_broadcast() -> None:
    assert np.array_equal(DRAWS.bits("a", INDEX[:5], 7), DRAWS.bits("a", INDEX[:5], np.full(5, 7)))


@pytest.mark.parametrize("exponent", [0.7, 1.0, 1.4])
def test_zipf_ranks_fall_as_a_power_and_stay_in_range(exponent: float) -> None:
    ranks = zipf_rank(DRAWS.uniform("z", INDEX), 1000, exponent)
    counts = np.bincount(ranks, minlength=1000)
    assert len(counts) == 1000
    # From rank 50 on the continuous form is the power law itself.
    slope = np.polyfit(np.log(np.arange(50, 1000)), np.log(np.maximum(counts[50:], 1)), 1)[0]
    assert slope == pytest.approx(-exponent, abs=0.15)
    assert zipf_rank(np.array([0.0, np.nextafter(1, 0)]), 3, exponent).tolist() == [0, 2]


@pytest.mark.parametrize("size", [1, 2, 10, 997, 4096])
def test_shuffled_is_a_permutation(size: int) -> None:
    assert sorted(shuffled(np.arange(size), size)) == list(range(size))


def test_numbers_as_text_have_one_width() -> None:
    assert numbered("u", np.array([0, 999]), 1000).to_pylist() == ["u000", "u999"]
    assert numbered("u", np.array([7, 1234567]), 1001).to_pylist() == ["u0000007", "u1234567"]
    assert numbered("u", np.array([12345678901]), 10**11).to_pylist() == ["u12345678901"]
