"""How large a generated log is and how its users behave."""

from datetime import date
from typing import Annotated

from pydantic import Field, model_validator

from divspa.settings import Section

NAMED_FIELDS = 7
# Beyond this, products of two ids would leave 64 bits.
MOST = 3_000_000_000


class GeneratorSettings(Section):
    """A generated log: its sizes, its seed, and the few habits of its users."""

    users: Annotated[int, Field(ge=1, lt=MOST)] = 20_000
    items: Annotated[int, Field(ge=8, lt=MOST)] = 6_000
    clicks: Annotated[int, Field(ge=1, lt=MOST)] = 500_000
    fields: Annotated[int, Field(ge=NAMED_FIELDS)] = 12
    days: Annotated[int, Field(ge=1)] = 14
    seed: Annotated[int, Field(ge=0)] = 17
    start: date = date(2024, 1, 1)
    # Distinct values over all fields, ids of users and items included; None lets fields stay small.
    features: int | None = None
    cold_share: Annotated[float, Field(ge=0, lt=1)] = 0.3
    fresh_share: Annotated[float, Field(ge=0, le=1)] = 0.15
    wander: Annotated[float, Field(ge=0, le=1)] = 0.15
    popularity_exponent: Annotated[float, Field(gt=0, le=3)] = 0.9

    @model_validator(mode="after")
    def _enough_clicks(self) -> "GeneratorSettings":
        if self.clicks < self.users:
            raise ValueError("`clicks` may not be fewer than `users`: every user clicks at least once")
        if self.users < 2 * self.days:
            raise ValueError("`users` must be at least twice `days`, so that no day is empty")
        return self


# The sizes of Table 2; the paper does not say how many days they span.
PRESETS = {
    "video": GeneratorSettings(
        users=11_620_000, items=420_000, clicks=25_340_000, fields=57, features=41_200_000, days=14
    ),
    "vfeeds": GeneratorSettings(
        users=1_340_000, items=270_000, clicks=13_580_000, fields=50, features=20_600_000, days=14
    ),
}
