"""The world behind the log: a catalogue of clusters, users whose interests drift, and the clicks they make."""

from dataclasses import dataclass
from datetime import timedelta

import numpy as np
from numpy.typing import NDArray

from divspa.simulation.draws import Draws, Floats, Ints, halves, shuffled, zipf_rank
from divspa.simulation.settings import GeneratorSettings

DAY_SECONDS = 86_400
STYLES = 4
SEGMENTS = 16
# A user's interests: how often a session is about each, and for how many days each lasts.
SLOT_SHARES = (0.55, 0.85, 1.0)
SLOT_DAYS = np.array([60, 12, 4])
# Clicks by hour of the day: a quiet night, a lunch peak and an evening peak.
HOURS = np.array([5, 3, 2, 1, 1, 2, 4, 7, 9, 9, 9, 10, 13, 12, 10, 9, 9, 10, 12, 15, 18, 19, 15, 9], float)


@dataclass(frozen=True)
class Clicks:
    """Clicks in one order: user and item numbers, microseconds since 1970 in UTC, seconds of dwell."""

    user: Ints
    item: Ints
    time: Ints
    dwell: NDArray[np.int32]


class World:
    """Everything that is drawn once: O(items + days) memory; users and clicks are functions of their number."""

    def __init__(self, settings: GeneratorSettings) -> None:
        self.settings = settings
        self.draws = Draws(settings.seed)
        self.categories = max(2, min(1000, settings.items // 300))
        self.sessions = settings.users + (settings.clicks - settings.users) // 3
        self._hours = np.append(0, HOURS.cumsum() / HOURS.sum())
        self._build_catalogue()
        shares = np.append(0, np.cumsum(self._day_weights()))
        self.day_sessions = (shares * self.sessions).round().astype(np.int64)
        self.day_clicks = self.day_sessions + (shares * (settings.clicks - self.sessions)).round().astype(np.int64)

    def _day_weights(self) -> Floats:
        """Shares of the days: weekends are busier, and each day differs a little."""
        days = np.arange(self.settings.days)
        weekday = (days + self.settings.start.weekday()) % 7
        weights = np.where(weekday >= 5, 1.2, 1.0) * (0.95 + 0.1 * self.draws.uniform("day", days))
        return weights / weights.sum()

    def _build_catalogue(self) -> None:
        """Give each item a cluster (category and style) and a first day; order each cluster by first day."""
        items, days = np.arange(self.settings.items), self.settings.days
        rank = zipf_rank(self.draws.uniform("item category", items), self.categories, 0.5)
        cluster = rank * STYLES + self.draws.below(STYLES, "item style", items)
        cold = self.draws.uniform("item cold", items) < self.settings.cold_share
        first_day = np.where(cold, self.draws.below(days, "item first day", items), 0)
        clusters = self.categories * STYLES
        # No cluster is ever without an item.
        stock = shuffled(np.arange(clusters), self.settings.items)
        cluster[stock], first_day[stock] = np.arange(clusters), 0
        self.item_category, self.item_style, self.item_first_day = cluster // STYLES, cluster % STYLES, first_day
        self._shelf = np.lexsort((self.draws.bits("shelf", items), first_day, cluster))
        arrivals = np.zeros((days, clusters), np.int64)
        np.add.at(arrivals, (first_day, cluster), 1)
        self._available = arrivals.cumsum(axis=0)
        self._shelf_start = np.append(0, np.bincount(cluster, minlength=clusters).cumsum())[:-1]

    def segment(self, user: Ints) -> Ints:
        return self.draws.below(SEGMENTS, "segment", user)

    def interest(self, user: Ints, slot: Ints, day: int) -> Ints:
        """The cluster that an interest of a user points at on a day; it lasts some days, then another follows."""
        lasts = SLOT_DAYS[slot]
        era = (self.draws.below(lasts, "era", user, slot) + day) // lasts
        popularity, flavour = halves(self.draws.bits("interest", user, slot, era))
        category = zipf_rank(popularity, self.categories, 1.0)
        # Three in four interests are those of the segment: the same long tail, started at another category.
        of_segment = flavour < 0.75
        shift = self.segment(user) * self.categories // SEGMENTS
        category = np.where(of_segment, (category + shift) % self.categories, category)
        return category * STYLES + self.draws.below(STYLES, "taste", user, slot, era)

    def clicks(self, day: int, first: int, last: int) -> Clicks:
        """Clicks number `first` up to `last` of a day; any division of the day into ranges gives the same clicks.

        Each session has one click of its own; the day's further clicks choose a session at random.
        """
        number = np.arange(first, last) + self.day_clicks[day]
        opening = self.day_sessions[day]
        sessions = self.day_sessions[day + 1] - opening
        own = number - self.day_clicks[day]
        session = opening + np.where(own < sessions, own, self.draws.below(sessions, "session", number))
        user = self._session_user(session)
        cluster, follows = self._topic(day, user, session, number)
        item = self._pick(day, cluster, number)
        dwell = np.where(follows, 25.0, 8.0) * np.exp(1.5 * self.draws.uniform("dwell", number))
        return Clicks(user, item, self._time(day, session, number, own >= sessions), dwell.astype(np.int32))

    def _session_user(self, session: Ints) -> Ints:
        """Every user has one session; the others fall to users by a long tail of activity."""
        users = self.settings.users
        ticket = shuffled(session, self.sessions)
        active = shuffled((np.square(self.draws.uniform("user", ticket)) * users).astype(np.int64), users)
        return np.where(ticket < users, ticket, active)

    def _topic(self, day: int, user: Ints, session: Ints, number: Ints) -> tuple[Ints, NDArray[np.bool_]]:
        """The cluster of each click, and whether it follows the session's interest instead of wandering off."""
        slot = np.searchsorted(np.array(SLOT_SHARES), self.draws.uniform("slot", session), side="right")
        stray, wander = halves(self.draws.bits("topic", number))
        elsewhere = zipf_rank(stray, self.categories, 0.8) * STYLES + self.draws.below(STYLES, "stray style", number)
        follows = wander >= self.settings.wander
        return np.where(follows, self.interest(user, slot, day), elsewhere), follows

    def _pick(self, day: int, cluster: Ints, number: Ints) -> Ints:
        """An item of the cluster among those published by this day."""
        size = self._available[day, cluster]
        depth, fresh = halves(self.draws.bits("item", number))
        rank = zipf_rank(depth, size, self.settings.popularity_exponent)
        # The newest items stand at the end of the shelf: some clicks look there first.
        place = np.where(fresh < self.settings.fresh_share, size - 1 - rank, rank)
        return self._shelf[self._shelf_start[cluster] + place]

    def _time(self, day: int, session: Ints, number: Ints, later: NDArray[np.bool_]) -> Ints:
        """Sessions start by the hours of the day; further clicks of a session follow within about ten minutes."""
        start = np.interp(self.draws.uniform("start", session), self._hours, np.arange(25) * 3600.0)
        pause = np.where(later, -300.0 * np.log1p(-self.draws.uniform("pause", number)), 0.0)
        seconds = start + pause
        # What would pass midnight is mirrored, so that a day's file holds that day only.
        seconds = np.where(seconds >= DAY_SECONDS, 2 * DAY_SECONDS - 1e-3 - seconds, seconds)
        date = self.settings.start + timedelta(days=day)
        return np.int64(date.toordinal() - 719_163) * (DAY_SECONDS * 1_000_000) + (seconds * 1e6).astype(np.int64)
