import math

import pytest
import torch

from divspa.data.items import Items
from divspa.schemas.vocabulary import FIRST_INDEX
from divspa.training.negatives import NegativeSampler
from divspa.training.settings import Training

CLICKS = torch.tensor([0, 0, 8, 4, 2, 1, 1, 0])


def sampler(kind: str, count: int = 4, clicks: torch.Tensor = CLICKS, power: float = 1.0) -> NegativeSampler:
    settings = Training(negative_sampling=kind, negatives=count, batch_size=16, popularity_power=power)  # pyright: ignore
    return NegativeSampler(catalogue(clicks), settings, torch.Generator().manual_seed(1))


def catalogue(clicks: torch.Tensor) -> Items:
    listed = torch.arange(len(clicks)) >= FIRST_INDEX
    clicks = torch.where(listed, clicks, 0)
    return Items(torch.zeros(len(clicks), 0, dtype=torch.int32), clicks, clicks, listed)


@pytest.mark.parametrize("kind", ["uniform", "popularity", "mixed"])
def test_an_index_that_no_item_has_is_never_drawn(kind: str) -> None:
    items = catalogue(torch.ones(12))
    items.listed_V[5] = False
    settings = Training(negative_sampling=kind, negatives=50)  # pyright: ignore
    sampled = NegativeSampler(items, settings, torch.Generator().manual_seed(1))
    drawn = torch.cat([sampled.draw(torch.tensor([2])).items_N for _ in range(50)])
    assert sorted(drawn.unique().tolist()) == [2, 3, 4, 6, 7, 8, 9, 10, 11]


@pytest.mark.parametrize("kind", ["uniform", "popularity", "mixed"])
def test_an_item_that_nobody_clicked_is_never_drawn(kind: str) -> None:
    settings = Training(negative_sampling=kind, negatives=50)  # pyright: ignore
    sampled = NegativeSampler(catalogue(CLICKS), settings, torch.Generator().manual_seed(1))
    drawn = torch.cat([sampled.draw(torch.tensor([2])).items_N for _ in range(50)])
    assert sorted(drawn.unique().tolist()) == [2, 3, 4, 5, 6]


def test_hits_are_the_known_positives_of_the_row_only() -> None:
    negatives = sampler("uniform", clicks=torch.ones(10))
    known = torch.tensor([[3, 7, 0], [9, 0, 0]], dtype=torch.int32)
    rows, columns = negatives.hits(torch.tensor([2, 3, 7, 8]), known)
    assert list(zip(rows.tolist(), columns.tolist(), strict=True)) == [(0, 1), (0, 2)]
    rows, columns = negatives.hits(torch.tensor([9]), known)
    assert list(zip(rows.tolist(), columns.tolist(), strict=True)) == [(1, 0)]


def test_uniform_negatives_are_distinct_items_drawn_alike_without_correction() -> None:
    negatives = sampler("uniform", clicks=torch.ones(12))
    draws = [negatives.draw(torch.tensor([2])) for _ in range(3000)]
    counts = torch.bincount(torch.cat([draw.items_N for draw in draws]), minlength=12)
    assert counts[:2].sum() == 0
    assert counts[2:].min() > 0.85 * counts[2:].max()
    assert draws[0].log_q_V is None


def test_popular_items_are_drawn_in_proportion_to_their_clicks_to_the_power() -> None:
    negatives = sampler("popularity", count=1, power=0.5)
    drawn = torch.cat([negatives.draw(torch.tensor([2])).items_N for _ in range(20_000)])
    shares = torch.bincount(drawn, minlength=8) / len(drawn)
    powered = torch.tensor([0, 0, 8**0.5, 2, 2**0.5, 1, 1, 0])
    assert torch.allclose(shares, powered / powered.sum(), atol=0.012)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("popularity", 4 * 8 / 16), ("in_batch", 16 * 8 / 16), ("mixed", 4 / 5 + 16 * 8 / 16)],
)
def test_the_correction_is_how_often_the_item_is_expected_in_a_draw(kind: str, expected: float) -> None:
    log_q = sampler(kind).draw(torch.tensor([2])).log_q_V
    assert log_q is not None and log_q[2].item() == pytest.approx(math.log(expected))


def test_in_batch_and_mixed_negatives_hold_the_clicked_items() -> None:
    clicked = torch.tensor([5, 3, 5], dtype=torch.int32)
    assert sampler("in_batch").draw(clicked).items_N.tolist() == [3, 5]
    mixed = sampler("mixed").draw(clicked).items_N
    assert {3, 5} <= set(mixed.tolist()) and len(mixed) > 2 and len(mixed) == len(mixed.unique())
