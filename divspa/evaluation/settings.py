"""What is measured after the cutoff, and how it is shown."""

from typing import Annotated

from pydantic import AfterValidator, Field

from divspa.settings import Section, Text


def _lengths(ks: tuple[int, ...]) -> tuple[int, ...]:
    if list(ks) != sorted(set(ks)):
        raise ValueError("lengths of lists stand in ascending order, each once")
    return ks


Lengths = Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1), AfterValidator(_lengths)]


class Report(Section):
    """How a report names the items of a few users' lists: columns or expressions of the items table."""

    item_name: Text | None = None
    item_picture: Text | None = None
    users: Annotated[int, Field(ge=0, le=100)] = 3


class Evaluation(Section):
    """What is measured on the part of the log after the cutoff; diversity on the lists of so many users (Table 5).

    Of more than `users` users with test events so many are drawn by a hash of their key, mostly the same ones every
    day, and their events alone are ranked: the whole catalogue for each of millions would take hours. With `events`
    only clicks of these kinds are test events, and held out for early stopping.
    """

    ks: Lengths = (50, 100, 200)
    diversity_ks: Lengths = (100, 500, 1000)
    users: Annotated[int, Field(ge=10)] | None = 100_000
    diversity_users: Annotated[int, Field(ge=1)] = 10_000
    drop_seen: bool = True
    events: tuple[str, ...] = ()
