import math

import pytest
import torch

from divspa.training.losses import mix_up, sampled_softmax
from divspa.training.negatives import UniformNegatives


def test_sampled_softmax_is_equation_one() -> None:
    positives, negatives = torch.tensor([[0.5, -0.2]]), torch.tensor([[0.1, 0.3, -0.4]])
    hits = (torch.tensor([0]), torch.tensor([1]))
    losses = sampled_softmax(10 * positives, 10 * negatives, hits)
    for column, score in enumerate((0.5, -0.2)):
        below = math.exp(10 * score) + math.exp(10 * 0.1) + math.exp(10 * -0.4)
        assert losses[0, column].item() == pytest.approx(-math.log(math.exp(10 * score) / below), rel=1e-5)


def test_a_row_whose_negatives_are_all_masked_has_no_loss_and_no_nan_gradient() -> None:
    positives = torch.tensor([[0.5]], requires_grad=True)
    weights = torch.tensor([[0.1]], requires_grad=True)
    loss = sampled_softmax(positives, 1.0 * weights, (torch.tensor([0]), torch.tensor([0]))).sum()
    loss.backward()
    assert loss.item() == 0
    assert positives.grad is not None and torch.isfinite(positives.grad).all()
    assert weights.grad is not None and torch.isfinite(weights.grad).all()


def test_mix_up_is_equation_three() -> None:
    losses = torch.tensor([[1.0, 2.0, 4.0], [3.0, 1.0, 7.0]])
    weights = torch.tensor([[1.0, 0.75, 0.25], [1.0, 1.0, 0.0]])
    expected = ((1 + 0.5 * (0.75 * 2 + 0.25 * 4)) + (3 + 0.5 * 1)) / 2
    assert mix_up(losses, weights, beta=0.5).item() == pytest.approx(expected)
    assert mix_up(losses[:, :1], weights[:, :1], beta=0.5).item() == pytest.approx(2.0)


def test_accidental_hits_are_the_positives_of_the_row_only() -> None:
    negatives = UniformNegatives(2, 10, 5, torch.Generator().manual_seed(1))
    items = torch.tensor([[3, 7, 0], [9, 0, 0]], dtype=torch.int32)
    rows, columns = negatives.accidental_hits(torch.tensor([2, 3, 7, 8]), items)
    assert list(zip(rows.tolist(), columns.tolist(), strict=True)) == [(0, 1), (0, 2)]
    rows, columns = negatives.accidental_hits(torch.tensor([9]), items)
    assert list(zip(rows.tolist(), columns.tolist(), strict=True)) == [(1, 0)]


def test_negatives_are_distinct_items_drawn_alike() -> None:
    negatives = UniformNegatives(2, 12, 4, torch.Generator().manual_seed(1))
    drawn = torch.cat([negatives.draw() for _ in range(3000)])
    counts = torch.bincount(drawn, minlength=12)
    assert counts[:2].sum() == 0
    assert counts[2:].min() > 0.85 * counts[2:].max()
