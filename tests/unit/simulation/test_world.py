"""The habits of the generated users: predictable beyond popularity, drifting, long-tailed, told of by fields."""

import numpy as np
import pytest
import scipy.sparse as sp

from divspa.simulation.attributes import user_columns
from divspa.simulation.settings import GeneratorSettings
from divspa.simulation.world import DAY_SECONDS, STYLES, Clicks, World

SETTINGS = GeneratorSettings(users=4_000, items=1_600, clicks=80_000, days=14, seed=5)


@pytest.fixture(scope="module")
def world() -> World:
    return World(SETTINGS)


@pytest.fixture(scope="module")
def clicks(world: World) -> Clicks:
    days = [world.clicks(day, 0, int(size)) for day, size in enumerate(np.diff(world.day_clicks))]
    return Clicks(*(np.concatenate([getattr(d, name) for d in days]) for name in ("user", "item", "time", "dwell")))


def _last_out(clicks: Clicks) -> tuple[sp.csr_matrix, np.ndarray, np.ndarray]:
    """Training matrix of users by items, and each user's last new item, for users of at least five items."""
    order = np.lexsort((clicks.time, clicks.user))
    user, item = clicks.user[order], clicks.item[order]
    _, first = np.unique(user * SETTINGS.items + item, return_index=True)
    user, item = user[np.sort(first)], item[np.sort(first)]
    last = np.append(user[1:] != user[:-1], True) & (np.bincount(user)[user] >= 5)
    shape = (SETTINGS.users, SETTINGS.items)
    train = sp.csr_matrix((np.ones((~last).sum()), (user[~last], item[~last])), shape=shape)
    return train, user[last], item[last]


def _hit_rate(scores: np.ndarray, seen: sp.csr_matrix, target: np.ndarray, k: int = 50) -> float:
    scores = np.where(seen.toarray() > 0, -np.inf, scores)
    own = scores[np.arange(len(target)), target]
    return float(np.mean((scores >= own[:, None]).sum(axis=1) <= k))


def test_history_predicts_the_next_click_far_beyond_popularity(clicks: Clicks) -> None:
    train, users, targets = _last_out(clicks)
    users, targets = users[:1500], targets[:1500]
    seen = train[users]
    popularity = np.asarray(train.sum(axis=0)).ravel()
    norm = sp.diags(1 / np.sqrt(np.maximum(popularity, 1)))
    neighbours = norm @ (train.T @ train) @ norm
    by_popularity = _hit_rate(np.tile(popularity, (len(users), 1)), seen, targets)
    by_neighbours = _hit_rate((seen @ neighbours).toarray() + 1e-9 * popularity, seen, targets)
    assert by_popularity > 50 / SETTINGS.items, "popularity itself tells something"
    assert by_neighbours > 2 * by_popularity


def test_popularity_and_activity_have_long_tails(clicks: Clicks) -> None:
    for ids in (clicks.item, clicks.user):
        counts = np.sort(np.bincount(ids))[::-1]
        assert counts[: len(counts) // 10].sum() > 0.3 * len(ids), "a tenth holds far more than a tenth"
        assert np.median(counts) > 0


def test_interests_drift_over_days(world: World, clicks: Clicks) -> None:
    day = (clicks.time - clicks.time.min()) // (DAY_SECONDS * 1_000_000)
    cluster = world.item_category[clicks.item] * STYLES + world.item_style[clicks.item]

    def profile(days: tuple[int, ...]) -> sp.csr_matrix:
        chosen = np.isin(day, days)
        shape = (SETTINGS.users, world.categories * STYLES)
        counts = sp.csr_matrix((np.ones(chosen.sum()), (clicks.user[chosen], cluster[chosen])), shape=shape)
        return sp.diags(1 / np.maximum(np.sqrt(counts.power(2).sum(axis=1).A1), 1)) @ counts

    def likeness(one: sp.csr_matrix, other: sp.csr_matrix) -> float:
        both = (one.sum(axis=1).A1 > 0) & (other.sum(axis=1).A1 > 0)
        return float(one.multiply(other).sum(axis=1).A1[both].mean())

    start, soon, late = profile((0, 1)), profile((2, 3)), profile((12, 13))
    assert likeness(start, soon) > likeness(start, late) + 0.03, "interests change"
    assert likeness(start, late) > 2 * likeness(start, late[np.roll(np.arange(SETTINGS.users), 1)]), "but not all"


def test_sessions_keep_to_one_interest(world: World, clicks: Clicks) -> None:
    order = np.lexsort((clicks.time, clicks.user))
    user, time, category = clicks.user[order], clicks.time[order], world.item_category[clicks.item[order]]
    same_user = user[1:] == user[:-1]
    near = same_user & (np.diff(time) < 10 * 60 * 1_000_000)
    far = same_user & (np.diff(time) > 6 * 3600 * 1_000_000)
    repeats = category[1:] == category[:-1]
    assert repeats[near].mean() > repeats[far].mean() + 0.1


def test_user_fields_tell_of_interests(world: World, clicks: Clicks) -> None:
    columns = user_columns(world, np.arange(SETTINGS.users))
    category = world.item_category[clicks.item]

    def information(field: np.ndarray) -> float:
        _, code = np.unique(field, return_inverse=True)
        joint = np.histogram2d(code[clicks.user], category, bins=(code.max() + 1, world.categories))[0] / len(category)
        independent = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0)
        there = joint > 0
        return float((joint[there] * np.log(joint[there] / independent[there])).sum())

    age = columns["age_band"].to_numpy(zero_copy_only=False)
    shuffled = np.random.default_rng(0).permutation(age)
    assert information(age) > 5 * information(shuffled)


def test_followed_interests_hold_attention_longer(clicks: Clicks) -> None:
    assert clicks.dwell.min() >= 1
    assert np.quantile(clicks.dwell, 0.9) > 3 * np.quantile(clicks.dwell, 0.1)
