"""How many users are held out."""

from datetime import UTC, datetime

import pytest

from divspa.features.split import Span


@pytest.mark.parametrize(
    ("train_clicks", "asked", "held_out"),
    [
        (1_000, None, 50),
        (100_000, None, 5_000),
        (500_000, None, 5_000),
        (1_000_000, None, 10_000),
        (90_000_000, None, 20_000),
        (500_000, 300, 300),
        (500_000, 100_000, 25_000),
        (500_000, 0, 0),
    ],
)
def test_so_many_clicks_are_held_out(train_clicks: int, asked: int | None, held_out: int) -> None:
    users, instants = 1000, train_clicks // 4
    span = Span(users, users, 10, train_clicks, 10, instants, datetime(2024, 1, 1, tzinfo=UTC))
    basket = 4
    assert span.validation_share(asked) * users * basket == pytest.approx(held_out)
